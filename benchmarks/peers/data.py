"""The arrays that every library gets: drawn ones, and benchmarks of the field."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus import Labelled, rows
from isthmus.compose import load_labelled
from isthmus.manager import discover

CLASSES, COLUMNS, NEW, JUDGED = 10, 50, 3000, 8000
TOP = 1000  # columns of the reviews that everybody gets
SURF, COIL = "npz:office_caltech_surf/{}.npz#normalise=sum-zscore", "npz:coil20/{}.npz#normalise=l2"
DIGITS, PACS = "npz:jda_digits/{}.npz#normalise=l2", "npz:pacs_mobilenetv2/{}.npz"
REVIEWS = "npz:amazon_reviews/{}.npz"
SETS = {
    "surf": (SURF, ("caltech10", "amazon", "webcam", "dslr")),
    "coil20": (COIL, ("coil1", "coil2")),
    "digits": (DIGITS, ("usps", "mnist")),
    "pacs": (PACS, ("photo", "art_painting", "cartoon", "sketch")),
    "reviews": (REVIEWS, ("books", "dvd", "electronics", "kitchen")),
}
Arrays = dict[str, NDArray[Any]]


def drawn(n: int, d: int = COLUMNS, apart: float = 1.0) -> Arrays:
    """Return n + n rows of ten classes: the target is rotated a little, stretched and moved.

    The smaller ``apart``, the more the classes overlap. The unit is such that a Gaussian kernel of
    width 1 / d has the median distance for bandwidth.
    """
    rng = np.random.default_rng(n + d)
    centres = apart * rng.normal(size=(CLASSES, d))
    mix = rng.normal(size=(d, d)) / d**0.5
    turn, r = np.linalg.qr(np.eye(d) + 0.3 * rng.normal(size=(d, d)) / d**0.5)
    turn *= np.sign(np.diag(r))  # near the identity, not minus it

    def draw(m: int, moved: bool) -> tuple[Any, Any]:
        y = np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, m - CLASSES)])
        x = centres[y] + rng.normal(size=(m, d)) @ mix
        return (x @ (turn * np.linspace(0.7, 1.3, d)) + 0.3 if moved else x), y

    (x_s, y_s), (x_t, y_t), (x_new, _) = draw(n, False), draw(n, True), draw(NEW, False)
    some = np.concatenate([x_s[:500], x_t[:500]])
    squares = np.square(some[:, None] - some[None, ::7]).sum(2)
    unit = np.sqrt(2 * np.median(squares[squares > 0]) / d)
    scaled = [(x / unit).astype(np.float32) for x in (x_s, x_t, x_t[:JUDGED], x_new)]
    names = ("x_source", "x_target", "x_judged", "x_new")
    return {**dict(zip(names, scaled, strict=True)), "y_source": y_s, "y_judged": y_t[:JUDGED]}


def pairs(name: str, ring: bool = False) -> list[tuple[str, str]]:
    """Return the tasks of a set of domains: all ordered pairs, or each domain to the next one."""
    domains = SETS[name][1]
    if ring:
        return list(zip(domains, (*domains[1:], domains[0]), strict=True))
    return list(permutations(domains, 2))


def real(name: str, source: str, target: str, root: Path) -> Arrays:
    """Return one task; rows are judged where the set has no test split of its own."""
    catalogue, pattern = discover(third_party=False), SETS[name][0]

    def load(domain: str, more: str = "") -> Labelled:
        return load_labelled(catalogue, pattern.format(domain) + more, root)

    s, t = load(source), load(target)
    judged = load(target, "#split=test") if name == "reviews" else t
    x = [d.x for d in (s, t, judged)]
    if rows.is_sparse(s.x):  # the columns that are in most rows, without a look at labels
        often = sum(np.asarray((part > 0).sum(0)).ravel() for part in x[:2])
        kept = np.sort(np.argsort(-often, kind="stable")[:TOP])
        x = [part[:, kept] for part in x]
    x_s, x_t, x_j = (rows.dense(part) for part in x)
    return {
        "x_source": x_s,
        "y_source": s.y,
        "x_target": x_t,
        "x_judged": x_j,
        "y_judged": judged.y,
    }


def saved(path: Path, arrays: Any) -> Path:
    """Write what ``arrays()`` returns, unless the file is there; return where."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **arrays())
        part.rename(path)
    return path
