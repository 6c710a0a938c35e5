"""What it costs to move a source row onto a target row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isthmus import Schema, rows
from isthmus.learners.scaling import spreads

Array = NDArray[np.float64]


def units(x_source: Any, x_target: Any, schema: Schema) -> Array:
    """Return what to divide columns by, (d,), before distances are taken.

    Columns in one unit (pixels, embedded features) and CSR columns are left as they are; columns
    in units of their own (see ``scaling.scales``) are divided by the deviation over both domains,
    each of which counts one half.
    """
    d = x_source.shape[1]
    if rows.is_sparse(x_source) or rows.is_sparse(x_target):
        return np.ones(d)
    x = rows.concatenate([x_source, x_target])
    n_source, n_target = rows.count(x_source), rows.count(x_target)
    weight = np.repeat([0.5 / n_source, 0.5 / n_target], [n_source, n_target])
    _, spread, floor = spreads(x, weight, named=bool(schema.features))
    return np.ones(d) if (spread < floor).any() else spread


def measured(x: Any, unit: Array) -> Any:
    """Return rows (n, d) with columns divided by ``unit``, in float64; CSR rows stay CSR."""
    if rows.is_sparse(x):
        return x.astype(np.float64) @ sparse.diags_array(1 / unit)
    return np.asarray(x, np.float64) / unit


def squared_distances(x_source: Any, x_target: Any, unit: Array) -> Array:
    """Return squared Euclidean distances (n_source, n_target); CSR rows stay sparse."""
    if rows.is_sparse(x_source) and rows.is_sparse(x_target):
        a, b = measured(x_source, unit), measured(x_target, unit)
        products = (a @ b.T).toarray()
        squares = [np.asarray(x.multiply(x).sum(1)).ravel() for x in (a, b)]
    else:
        b = measured(rows.dense(x_target), unit)
        centre = b.mean(0)  # keeps the squares small, and with them their rounding
        a, b = measured(rows.dense(x_source), unit) - centre, b - centre
        products = a @ b.T
        squares = [np.square(x).sum(1) for x in (a, b)]
    products *= -2
    products += squares[0][:, None]
    products += squares[1]
    return np.maximum(products, 0, out=products)


def ground_cost(x_source: Any, x_target: Any, unit: Array) -> tuple[Array, Array]:
    """Return squared distances (n_source, n_target) with the median 1, and the unit that does so.

    Columns divided by the unit (d,) are at such distances. Where most rows coincide the mean takes
    the median's place.
    """
    cost = squared_distances(x_source, x_target, unit)
    scale = float(np.median(cost)) or float(cost.mean()) or 1.0
    return np.divide(cost, scale, out=cost), unit * np.sqrt(scale)
