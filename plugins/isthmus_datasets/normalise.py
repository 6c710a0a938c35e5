"""Putting the features of one domain on a common scale, by that domain's own statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import rows
from isthmus.errors import BadInput

WAYS = ("none", "zscore", "sum-zscore", "l2")
FILLS = ("none", "zero", "mean", "median")


def normalise(how: str, x: Any, training: Any) -> Any:
    """Return ``x`` (n, d), dense or CSR, normalised; NaN stays NaN.

    * ``l2``: each row divided by its Euclidean norm
    * ``zscore``: each column to mean 0 and standard deviation 1 over the rows of ``training``
    * ``sum-zscore``: each row divided by its sum, then ``zscore``, as is customary for SURF
      histograms (Gong et al., CVPR 2012)
    """
    if how == "none":
        return x
    if rows.is_sparse(x) and how != "l2":
        raise BadInput(
            f"normalise={how} would fill in a sparse matrix", hint="normalise=l2 keeps it sparse"
        )
    if how == "l2":
        return _l2(x)
    share = how == "sum-zscore"
    mean, deviation = _moments(_shares(training) if share else training)
    wide = _shares(x) if share else np.asarray(x, np.float64)
    return ((wide - mean) / deviation).astype(np.float32)


def fill(how: str, x: Any, training: Any) -> Any:
    """Return ``x`` (n, d) with its NaN replaced; CSR matrices have none.

    * ``zero``: 0, which is the mean after ``normalise=zscore``
    * ``mean``, ``median``: that of the column over ``training``; 0 where it has no number at all
    """
    if how == "none" or rows.is_sparse(x) or not (holes := np.isnan(x)).any():
        return x
    value = np.zeros(x.shape[1])
    known = ~np.isnan(training).all(0)
    if how != "zero" and known.any():
        centre = np.nanmean if how == "mean" else np.nanmedian
        value[known] = centre(np.asarray(training, np.float64)[:, known], axis=0)
    return np.where(holes, value, x).astype(np.float32)


def _l2(x: Any) -> Any:
    if rows.is_sparse(x):
        from scipy import sparse

        norm = np.sqrt(np.asarray(x.multiply(x).sum(1), np.float64).ravel())
        scaled = sparse.diags(1 / np.where(norm > 0, norm, 1)) @ x
        return sparse.csr_matrix(scaled, dtype=np.float32)
    norm = np.sqrt(np.nansum(np.square(x, dtype=np.float64), 1, keepdims=True))
    return (x / np.where(norm > 0, norm, 1)).astype(np.float32)


def _shares(x: NDArray[Any]) -> NDArray[np.float64]:
    total = np.nansum(x, 1, keepdims=True, dtype=np.float64)
    return np.asarray(x / np.where(total != 0, total, 1), np.float64)


def _moments(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each column; a constant or empty column has 1."""
    wide = np.asarray(x, np.float64)
    seen = np.maximum(np.sum(~np.isnan(wide), 0), 1)
    mean = np.nansum(wide, 0) / seen
    deviation = np.sqrt(np.nansum(np.square(wide - mean), 0) / seen)
    return mean, np.where(deviation > 1e-12 * np.maximum(np.abs(mean), 1e-300), deviation, 1)
