"""Images that stay on disk, and images seen at another size, both read like an array."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from isthmus import files, rows
from isthmus.errors import BadInput

T = TypeVar("T")
Shape: TypeAlias = tuple[int, ...]  # height, width, channels


class ImageFiles:
    """Image files of any size as rows (height, width, channels), decoded when asked for.

    ``x[index]`` decodes and returns an array (n, height, width, channels): uint8 when every
    image asked for already has that size (a grey one may be repeated into RGB), else float32
    in [0, 255], resized and recoloured without rounding by the arithmetic of the exported
    graph. ``x.take(index)`` returns a view and reads nothing.
    """

    def __init__(
        self,
        paths: Iterable[Path | str],
        size: tuple[int, int],
        channels: int = 3,
        workers: int | None = None,
    ) -> None:
        """``size`` is (height, width) in pixels; ``workers`` threads decode (default: cores)."""
        if channels not in (1, 3) or len(size) != 2 or min(size) < 1:
            raise BadInput(f"images have 1 or 3 channels and a size, got {channels} and {size}")
        given = [Path(p) for p in paths]
        self.paths: NDArray[Any] = np.empty(len(given), object)
        self.paths[:] = given
        self.size = (int(size[0]), int(size[1]))
        self.channels = channels
        self.workers = workers
        self._keys: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        chosen = self.paths[index]
        one = isinstance(chosen, Path)
        images = self._decode([chosen] if one else chosen)
        return np.asarray(images[0]) if one else images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"ImageFiles({len(self)} files, size={self.size}, channels={self.channels})"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self), *self.size, self.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of ``x[:]``; reads the header of every file."""
        kept = all(_fits(s, self.shape[1:]) for s in self._each(files.image_shape, self.paths))
        return np.dtype(np.uint8 if kept else np.float32)

    def take(self, index: Any) -> ImageFiles:
        """Return the files at ``index`` (integers, a mask or a slice), in that order."""
        part = ImageFiles(self.paths[index], self.size, self.channels, self.workers)
        part._keys = None if self._keys is None else self._keys[index]
        return part

    def reshaped(self, size: tuple[int, int], channels: int) -> ImageFiles:
        """Return the same files read at another size (height, width) and number of channels."""
        other = ImageFiles(self.paths, size, channels, self.workers)
        other._keys = self._keys
        return other

    def row_keys(self) -> NDArray[np.uint64]:
        """Return a hash of each file's bytes, uint64 (n,); the files are read once."""
        if self._keys is None:
            self._keys = np.array(self._each(_hash, self.paths), np.uint64)
        return self._keys

    def _decode(self, paths: Iterable[Path]) -> NDArray[Any]:
        images = self._each(self._read, paths)
        exact = all(image.dtype == np.uint8 for image in images)
        out = np.empty((len(images), *self.shape[1:]), np.uint8 if exact else np.float32)
        for i, image in enumerate(images):
            out[i] = image  # a grey image is repeated into RGB by broadcasting
        return out

    def _read(self, path: Path) -> NDArray[Any]:
        image = files.read_image(path)
        if _fits(image.shape, self.shape[1:]):
            return image
        return np.asarray(fit(image[None], self.shape[1:])[0])

    def _each(self, function: Callable[[Path], T], chosen: Iterable[Path]) -> list[T]:
        paths = list(chosen)
        workers = min(self.workers or min(os.cpu_count() or 1, 8), len(paths))
        if workers < 2:
            return [function(p) for p in paths]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(function, paths))


class Resized:
    """Another container's images as float32 rows of ``shape`` in [0, 255], made when asked for.

    ``raw`` is what is wrapped: a uint8 or float array (n, h, w, c), or ImageFiles.
    """

    def __init__(self, x: Any, shape: Shape) -> None:
        if len(x.shape) != 4 or x.shape[3] not in (1, 3) or shape[2] not in (1, 3):
            raise BadInput(f"cannot bring images of shape {x.shape[1:]} to {tuple(shape)}")
        self.raw = x
        self.shape: tuple[int, int, int, int] = (rows.count(x), shape[0], shape[1], shape[2])
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        at = np.arange(len(self))[index]
        if at.ndim == 0:
            return np.asarray(self[at[None]][0])
        out = np.empty((len(at), *self.shape[1:]), np.float32)
        for part in rows.chunks(len(at), 256):  # bounds the float copy of the larger images
            out[part] = fit(self.raw[at[part]], self.shape[1:])
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"Resized({self.raw.shape} to {self.shape[1:]})"

    def take(self, index: Any) -> Resized:
        """Return the images at ``index`` (integers, a mask or a slice), in that order."""
        return Resized(rows.take(self.raw, index), self.shape[1:])

    def row_keys(self) -> NDArray[np.uint64]:
        """Return a hash of each image as it was before resizing, uint64 (n,)."""
        return rows.row_keys(self.raw)


def fit(images: NDArray[Any], shape: Shape) -> NDArray[np.float32]:
    """Resize and recolour (n, h, w, c) to float32 (n, *shape) as the exported graph does."""
    import torch

    from isthmus.learners.pixels import recolour, resize

    with torch.no_grad():
        x = torch.from_numpy(np.array(images, np.float32)).permute(0, 3, 1, 2).contiguous()
        if len(x) and x.shape[2:] != shape[:2]:
            x = resize(x, (shape[0], shape[1]))
        x = recolour(x, shape[2])
        return np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy()).reshape(-1, *shape)


def most_common_size(paths: Sequence[Path | str], sample: int = 256) -> tuple[int, int]:
    """Return the (height, width) most files have; reads ``sample`` headers, spread evenly."""
    seen = Counter((h, w) for h, w, _ in shapes(paths, sample))
    return min(seen, key=lambda size: (-seen[size], size))


def shapes(paths: Sequence[Path | str], sample: int = 256) -> list[tuple[int, int, int]]:
    """Return the (height, width, channels) of ``sample`` files, spread evenly over ``paths``."""
    if not len(paths):
        raise BadInput("there is no image to take a size from")
    at = np.unique(np.linspace(0, len(paths) - 1, min(sample, len(paths))).astype(int))
    return [files.image_shape(paths[i]) for i in at]


def _fits(image: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return image[:2] == shape[:2] and image[2] <= shape[2]


def _hash(path: Path) -> int:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
