"""Kernel discrepancies between features, shared by the methods that minimise one."""

from __future__ import annotations

import torch
from torch import Tensor

from isthmus_alignment.deep.predictions import full


def multi_kernel_mmd(f_source: Tensor, f_target: Tensor, kernels: int = 5) -> Tensor:
    """Return the squared MMD (biased) of features (n, d), (m, d) under a sum of Gaussian kernels.

    Bandwidths are 2^i times a quarter of the mean squared distance, i = 0..kernels-1 (Gretton et
    al., NeurIPS 2012; the constants of Long et al., ICML 2015). One Gram matrix serves all
    kernels: each is the square of the next wider one. Time O((n + m)² d), memory O((n + m)²).
    """
    # In half precision |a|² + |b|² - 2 ab has no correct digit left where a is close to b.
    with torch.autocast(f_source.device.type, enabled=False):
        return mmd(multi_kernel_gram(full(torch.cat([f_source, f_target])), kernels), len(f_source))


def multi_kernel_gram(f: Tensor, kernels: int) -> Tensor:
    """Return the sum of Gaussian Gram matrices (n, n) of f (n, d), as ``multi_kernel_mmd`` has it.

    No gradient passes through the bandwidth.
    """
    distance, n = squared_distances(f), len(f)
    mean = distance.detach().sum() / max(n * n - n, 1)
    widest = torch.exp(-distance / (mean / 4 * 2 ** (kernels - 1)).clamp_min(1e-12))
    gram, kernel = widest, widest  # the widest bandwidth first; squaring halves it
    for _ in range(kernels - 1):
        kernel = kernel * kernel
        gram = gram + kernel
    return gram


def squared_distances(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Return the squared Euclidean distances (n, m) between rows a (n, d) and b (m, d), or a."""
    centre = a.detach().mean(0)  # moves no distance, and keeps the products small
    a = a - centre
    b = a if b is None else b - centre
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp_min(0)


def mmd(gram: Tensor, n: int) -> Tensor:
    """Return the squared MMD (biased) between the first n rows of a Gram matrix and the others."""
    return gram[:n, :n].mean() + gram[n:, n:].mean() - 2 * gram[:n, n:].mean()
