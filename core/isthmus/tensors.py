"""Rows as tensors, and the device they go to."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import rows
from isthmus.errors import BadInput, ProviderUnavailable


def as_tensor(x: Any) -> Tensor:
    """Return rows as a tensor; a read-only array (a memory-mapped file) is copied.

    A CSR matrix becomes a float32 tensor of that layout.
    """
    if rows.is_sparse(x):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
            return torch.sparse_csr_tensor(
                as_tensor(x.indptr.astype(np.int64)),
                as_tensor(x.indices.astype(np.int64)),
                as_tensor(x.data.astype(np.float32)),
                size=x.shape,
                check_invariants=True,
            )
    return torch.from_numpy(np.require(x, requirements=["C", "W"]))


def device_of(name: str) -> torch.device:
    """Return the device called cpu, cuda or cuda:N; refuse others, and one that is not there."""
    if name == "cpu":
        return torch.device("cpu")
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise BadInput(f"device {name!r}: expected cpu, cuda or cuda:N")
    number = int(name[5:] or 0)
    if number >= (seen := torch.cuda.device_count()):
        raise ProviderUnavailable(
            f"device {name!r} was asked for, but torch sees {seen or 'no'} GPU",
            hint="isthmus doctor",
        )
    return torch.device("cuda", number)
