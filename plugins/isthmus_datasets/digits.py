"""Handwritten digits that come with scikit-learn, and shifts of them: real data, offline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isthmus.dataset import Dataset, Location
from isthmus.domain import Labelled, Schema
from isthmus.errors import BadInput, nearest
from isthmus.graph import neighbour_graph
from isthmus_datasets.options import choice, number, whole
from isthmus_datasets.sampling import held_out, subset

ANGLE = 20.0  # degrees; a logistic regression trained upright then gets about a half right
BLUR = 1.0  # pixels, the standard deviation of a Gaussian
NOISE = 80.0  # of 255, the standard deviation of a Gaussian
Images: TypeAlias = NDArray[np.float64]  # (n, 8, 8), 0..255


class Digits(Dataset):
    """``digits:NAME``: 1,797 digits of 8x8 pixels (Alpaydin & Kaynak, UCI 1998), one shift each.

    The digits are cut into two fixed halves, class by class. ``upright`` is made of half a and
    every shifted domain of half b, so that the source and the target of one adaptation never
    show the same digit; two shifted domains do share theirs, unless one says ``half=a``.
    Seven of ten of each half are the training split, drawn by seed; the rest is the test split.
    """

    scheme: ClassVar[str] = "digits"
    summary: ClassVar[str] = "8x8 handwritten digits: upright, rotated, inverted, blurred, ..."
    options = {
        "split": "train (default, 70%) | test (30%) | all",
        "half": "a | b | all: which digits (default: a for upright, b for every other domain)",
        "as": "image (default, uint8 0..255) | table (64 pixels in [0, 1]) | graph (8 neighbours)",
        "angle": f"of digits:rotated, degrees anticlockwise (default {ANGLE:g})",
        "rows": "at most so many, drawn by seed in the proportions of the classes",
        "seed": "of the split and of the noise (default: the seed of the run)",
    }

    def load(self, location: Location) -> Labelled:
        self.check(location)
        name = location.path
        if name not in SHIFTS:
            raise BadInput(f"there is no digits:{name}", hint=nearest(name, SHIFTS))
        if "angle" in location.options and name != "rotated":
            raise BadInput(f"digits:{name} takes no angle", hint="digits:rotated does")
        seed = whole(location, "seed", location.seed)
        split = choice(location, "split", ("train", "test", "all"), "train")
        half = choice(location, "half", ("a", "b", "all"), "a" if name == "upright" else "b")
        form = choice(location, "as", ("image", "table", "graph"), "image")
        angle = number(location, "angle", ANGLE, -360, 360)
        images, y = _digits()
        images = SHIFTS[name](images, np.random.default_rng([seed, 1]), angle)
        pixels = images.clip(0, 255).round().astype(np.uint8)[..., None]
        kept = _chosen(y, half, split, seed)
        if "rows" in location.options:
            kept = kept[subset(y[kept], whole(location, "rows", 0), seed)]
        classes = tuple(str(i) for i in range(10))
        x: Any = pixels[kept]
        schema = Schema(kind="image", shape=(8, 8, 1), classes=classes)
        if form != "image":
            schema, x = Schema(kind=form, shape=(64,), classes=classes), _flat(x)
            x = neighbour_graph(x) if form == "graph" else x
        return Labelled(name=name, schema=schema, x=x, y=y[kept])


def upright(images: Images, rng: np.random.Generator, angle: float) -> Images:
    """As written."""
    return images


def rotated(images: Images, rng: np.random.Generator, angle: float) -> Images:
    """Turned anticlockwise about the centre, 20 degrees unless told; bilinear, black corners."""
    from scipy.ndimage import rotate

    return np.asarray(rotate(images, angle, axes=(2, 1), reshape=False, order=1), np.float64)


def inverted(images: Images, rng: np.random.Generator, angle: float) -> Images:
    """Dark on light: 255 minus each pixel."""
    return 255 - images


def blurred(images: Images, rng: np.random.Generator, angle: float) -> Images:
    """Smoothed by a Gaussian with a standard deviation of 1 pixel."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(images, (0, BLUR, BLUR)), np.float64)


def noisy(images: Images, rng: np.random.Generator, angle: float) -> Images:
    """With Gaussian noise on each pixel, standard deviation 80 of 255, clipped; by seed.

    Clean digits teach more than noisy ones here: adapting has little to win.
    """
    return images + rng.normal(0, NOISE, images.shape)


def thick(images: Images, rng: np.random.Generator, angle: float) -> Images:
    """Broad strokes: each pixel is the brightest of itself, right, below and below right."""
    from scipy.ndimage import grey_dilation

    return np.asarray(grey_dilation(images, size=(1, 2, 2), mode="constant"), np.float64)


SHIFTS: dict[str, Callable[[Images, np.random.Generator, float], Images]] = {
    f.__name__: f for f in (upright, rotated, inverted, blurred, noisy, thick)
}


def _digits() -> tuple[Images, NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images * (255 / 16)).round(), found.target.astype(np.int64)


def _chosen(y: NDArray[np.int64], half: str, split: str, seed: int) -> NDArray[np.int64]:
    """Return the row numbers of one half and split, ascending; halves do not depend on seed."""
    in_b = held_out(y, 0.5, seed=0)
    members = np.flatnonzero({"a": ~in_b, "b": in_b, "all": np.ones(len(y), bool)}[half])
    test = held_out(y[members], 0.3, seed)
    sides = {"train": ~test, "test": test, "all": np.ones(len(test), bool)}
    return np.asarray(members[sides[split]], np.int64)


def _flat(x: NDArray[np.uint8]) -> NDArray[np.float32]:
    return x.reshape(len(x), -1).astype(np.float32) / np.float32(255)
