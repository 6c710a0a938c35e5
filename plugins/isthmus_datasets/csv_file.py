"""Tables in comma-separated text files."""

from __future__ import annotations

from typing import ClassVar

from isthmus import files
from isthmus.dataset import Dataset, Location
from isthmus.domain import Domain
from isthmus_datasets.columns import OPTIONS, domain_of


class Csv(Dataset):
    """``csv:FILE#label=COLUMN``: UTF-8, one header line, blank cells are missing values."""

    scheme: ClassVar[str] = "csv"
    summary: ClassVar[str] = "a table in a comma-separated file with a header line"
    options = OPTIONS

    def load(self, location: Location) -> Domain:
        self.check(location)
        path = location.find()
        cells = files.read_cells(path)
        return domain_of(path.stem, files.numbered(cells), location, cells=cells)
