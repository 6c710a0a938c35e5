"""The readers are found by their schemes, and finding them costs no heavy import."""

from __future__ import annotations

import subprocess
import sys


def test_the_schemes(catalogue):
    assert set(catalogue.datasets.claims) >= {"npz", "csv", "parquet", "images", "digits"}
    for _, _, cls in catalogue.datasets.items():
        assert cls.summary
        assert cls.__doc__
        assert all(cls.options.values())


def test_listing_them_imports_nothing_heavy():
    code = (
        "import sys; from isthmus.manager import discover; discover(third_party=False).datasets;"
        "print(sorted({'torch', 'sklearn', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
