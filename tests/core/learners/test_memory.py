"""Freed blocks are used again without being asked for anew."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from isthmus.learners.memory import keep_freed


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep what they like")
def test_freed_memory_is_not_handed_back():
    keep_freed()
    torch.ones(2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(2**20)  # 1,024 pages
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 10 * 1024
