"""Freed blocks are used again without being asked for anew."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from isthmus.learners.memory import keep_freed


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep what they like")
@pytest.mark.parametrize("numbers", [2**20, 2**24], ids=["4 MiB", "64 MiB"])
def test_freed_memory_is_not_handed_back(numbers):
    keep_freed()
    torch.ones(numbers)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(numbers)
    pages = 4 * numbers // 4096
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 4 * pages
