"""Entry point of the datasets plugin."""

from __future__ import annotations

from isthmus.dataset import Dataset
from isthmus.hookspecs import hookimpl


@hookimpl
def isthmus_datasets() -> list[type[Dataset]]:
    from isthmus_datasets.csv_file import Csv
    from isthmus_datasets.digits import Digits
    from isthmus_datasets.images import Images
    from isthmus_datasets.npz import Npz
    from isthmus_datasets.parquet import Parquet
    from isthmus_datasets.text import Text

    return [Csv, Digits, Images, Npz, Parquet, Text]
