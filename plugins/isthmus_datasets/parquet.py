"""Tables in Parquet files; needs pyarrow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import files
from isthmus.dataset import Dataset, Location
from isthmus.domain import Domain
from isthmus.errors import BadInput, importing
from isthmus_datasets.columns import OPTIONS, domain_of


class Parquet(Dataset):
    """``parquet:FILE#label=COLUMN``: the options of csv; nulls are missing values."""

    scheme: ClassVar[str] = "parquet"
    summary: ClassVar[str] = "a table in a Parquet file (extra: parquet)"
    options = OPTIONS

    def load(self, location: Location) -> Domain:
        self.check(location)
        path = location.find()
        return domain_of(path.stem, read_columns(path), location)


def read_columns(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns (n,) of a file by name."""
    with importing("parquet", "reading Parquet files needs pyarrow, which is not installed"):
        import pyarrow as pa
        from pyarrow import parquet
    if path.is_dir():
        raise BadInput(f"{path} is a folder, expected one Parquet file")
    try:
        with path.open("rb") as stream:
            table = parquet.read_table(stream)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path} is not a readable Parquet file: {error}") from error
    if not table.num_rows:
        raise BadInput(f"{path} has no rows")
    if len(set(table.column_names)) < table.num_columns:
        raise BadInput(f"{path} has two columns of one name")
    return {name: _column(pa, table.column(name)) for name in table.column_names}


def _column(pa: Any, column: Any) -> NDArray[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):  # categories
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy())  # nulls become NaN
    values = column.to_pylist()
    if pa.types.is_boolean(kind) and None not in values:
        return np.array(values, np.bool_)
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return np.array([math.nan if v is None else float(v) for v in values], np.float64)
    return np.array(["" if v is None else str(v) for v in values], files.TEXT)
