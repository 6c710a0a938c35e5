"""Loading a domain by its URI, the way the command line does."""

from __future__ import annotations

import pytest

from isthmus import Location
from isthmus.manager import discover


@pytest.fixture(scope="session")
def catalogue():
    return discover(third_party=False)


@pytest.fixture
def load(catalogue, tmp_path):
    def load(uri, seed=0):
        location = Location.parse(uri, tmp_path, seed)
        return catalogue.datasets[location.scheme]().load(location)

    return load
