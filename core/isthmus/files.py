"""Reading files from strangers: arrays, tables and images, each fault told in one sentence.

Light on purpose: the predictor that runs without torch reads its input here.
"""

from __future__ import annotations

import csv
import math
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from isthmus.errors import BadInput

TEXT = np.dtypes.StringDType()  # as long as each cell is: one long review must not widen all
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)", re.IGNORECASE)
_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_ORIENTATION = 0x0112  # the EXIF tag; values from 5 on swap height and width


def visible(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files below a folder with such an ending, sorted.

    What hides is what file systems and editors leave: ``._a.png``, ``.cache/a.png``.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def read_npz(path: Path | str) -> dict[str, NDArray[Any]]:
    """Return every array of a NumPy ``.npz`` file by name. Pickled objects are refused."""
    path = _file(path)
    with path.open("rb") as head:
        magic = head.read(6)
    if not magic.startswith(b"PK"):
        what = "one unnamed array (.npy)" if magic == b"\x93NUMPY" else "no zip archive"
        raise BadInput(f"{path} is {what}, expected an .npz file of named arrays")
    found: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as stream:
                    array = np.lib.format.read_array(stream, allow_pickle=False)
                    found[member.removesuffix(".npy")] = array
                    stream.read()  # to the end, where the checksum is compared
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen types on a damaged file
        if "allow_pickle" in str(error):
            raise BadInput(
                f"{path} holds Python objects (a pickle), which are refused",
                hint="store numbers, or text as fixed-width strings (dtype U)",
            ) from error
        raise BadInput(f"{path} is not a readable .npz file: {_first(error)}") from error
    return found


def read_csv(path: Path | str) -> tuple[list[str], dict[str, NDArray[Any]]]:
    """Return the column names and the columns, each of shape (rows,).

    A column whose every filled cell is a number is float64 with NaN for blanks; any other is TEXT.
    """
    cells = read_cells(path)
    return [*cells], numbered(cells)


def read_cells(path: Path | str) -> dict[str, NDArray[Any]]:
    """Return the columns by name, TEXT (rows,) without blanks around it.

    UTF-8, separated by commas, one header line.
    """
    path = _file(path)
    csv.field_size_limit(2**31 - 1)  # of a cell: reviews are longer than the 131,072 of default
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = filter(None, reader)  # blank ones are skipped, wherever they are
            header = _header(path, next(lines, []))
            cells = []
            for line in lines:
                if len(line) != len(header):
                    raise BadInput(
                        f"{path}, line {reader.line_num}: {len(line)} cells, expected {len(header)}"
                    )
                cells.append(line)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}: {error}") from error
    if not cells:
        raise BadInput(f"{path} has a header but no rows")
    return {
        name: np.array([row[i].strip() for row in cells], TEXT) for i, name in enumerate(header)
    }


def numbered(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return TEXT columns with those as float64, NaN where blank, whose other cells are numbers."""
    return {name: _numbers(column) for name, column in columns.items()}


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Return one image, uint8 (height, width, 3) in RGB or (height, width, 1) in grey.

    The EXIF orientation is applied, alpha is dropped, palettes become RGB, and 16-bit grey is
    scaled to 8 bits.
    """
    path = _file(path)
    try:
        with Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return _pixels(image)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, ...
        raise BadInput(f"{path} is not a readable image: {_first(error)}") from error


def image_shape(path: Path | str) -> tuple[int, int, int]:
    """Return what ``read_image(path).shape`` will be, from the header alone."""
    path = _file(path)
    try:
        with Image.open(path) as image:
            (width, height), turned = image.size, False
            # Pillow decodes a whole PNG to look for a late EXIF chunk
            if image.format != "PNG" or "exif" in image.info:
                turned = image.getexif().get(_ORIENTATION, 1) >= 5
            channels = 1 if image.mode in _GREY else 3
    except Exception as error:
        raise BadInput(f"{path} is not a readable image: {_first(error)}") from error
    return (width, height, channels) if turned else (height, width, channels)


def _file(path: Path | str) -> Path:
    path = Path(path)
    if path.is_dir():
        raise BadInput(f"{path} is a folder, expected a file")
    if not path.exists():
        raise BadInput(f"there is no file {path}")
    return path


def _first(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _header(path: Path, header: list[str]) -> list[str]:
    header = [name.strip() for name in header]
    if not header:
        raise BadInput(f"{path} is empty, expected a line of column names")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise BadInput(f"{path}: the header {header[0]!r} is not separated by commas")
    default = header == [str(i) for i in range(len(header))]  # what a DataFrame writes unnamed
    if not default and all(_NUMBER.fullmatch(name) for name in header):
        raise BadInput(f"{path} has no header: its first line holds numbers, not column names")
    seen: set[str] = set()
    for i, name in enumerate(header):
        if not name:
            raise BadInput(
                f"{path}: column {i + 1} has no name",
                hint="a DataFrame's row numbers are left out by to_csv(index=False)",
            )
        if name in seen:
            raise BadInput(f"{path} has two columns named {name!r}")
        seen.add(name)
    return header


def _numbers(column: NDArray[Any]) -> NDArray[Any]:
    cells = column.tolist()
    if all(not cell or _NUMBER.fullmatch(cell) for cell in cells):
        return np.array([float(cell) if cell else math.nan for cell in cells], np.float64)
    return column


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    mode = image.mode
    if mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        return ((deep + 128) // 257).astype(np.uint8)[..., None]
    if mode == "F":
        raise ValueError("its pixels are floating-point numbers, expected 8 or 16 bits")
    if mode in _GREY:
        return np.array(image.convert("L"), np.uint8)[..., None]
    if mode in ("P", "PA"):  # by way of RGBA: a palette may carry transparency
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"), np.uint8)
