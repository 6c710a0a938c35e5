"""Every example runs and prints what it promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PROMISES = {
    "01_your_arrays": r"coral: accuracy 0\.\d{3}",
    "02_images_to_onnx": r"parity \d\.\de-\d\d, on \w+Provider\naccuracy 0\.[5-9]",
    "03_compare": r"target-only \(oracle\)",
}


def test_every_example_has_a_promise():
    assert {path.stem for path in EXAMPLES} == set(PROMISES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path, capsys):
    runpy.run_path(str(path))
    assert re.search(PROMISES[path.stem], capsys.readouterr().out)


def test_adapting_helps_in_the_first_example(capsys):
    runpy.run_path(str(EXAMPLES[0]))
    plain, coral = re.findall(r"accuracy (0\.\d+)", capsys.readouterr().out)
    assert float(coral) > float(plain) + 0.05
