"""Columns become features and labels, alike from csv and parquet."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from isthmus import BadInput, Labelled
from isthmus.errors import ProviderUnavailable
from isthmus.files import read_csv

TABLE = """age,income,city,sick,rate,score
31,1.5,Oslo,yes,0.5,1
,2,Rome,no,1.25,2
50,-3,Oslo,yes,2,10
"""


@pytest.fixture(params=["csv", "parquet"])
def table(request, tmp_path, load):
    """Return a loader of a table given as csv text, stored in either format."""

    def table(options, text=TABLE):
        path = tmp_path / "people.csv"
        path.write_text(text, encoding="utf-8")
        if request.param == "parquet":
            columns = {
                k: [None if c != c else c for c in v.tolist()] if v.dtype.kind == "f" else v
                for k, v in read_csv(path)[1].items()
            }
            parquet.write_table(pa.table(columns), tmp_path / "people.parquet")
        return load(f"{request.param}:people.{request.param}#{options}")

    return table


def test_text_labels_are_class_names(table):
    d = table("label=sick&drop=city")
    assert isinstance(d, Labelled)
    assert d.name == "people"
    assert d.schema.classes == ("no", "yes")
    assert d.y.tolist() == [1, 0, 1]
    assert d.schema.shape == (4,)
    assert d.x.dtype == np.float32
    np.testing.assert_array_equal(d.x[:, 0], [31, np.nan, 50])


def test_whole_numbers_are_classes_in_their_order(table):
    d = table("label=score&drop=city,sick")
    assert d.schema.classes == ("1", "2", "10")
    assert d.y.tolist() == [0, 1, 2]


def test_codes_of_digits_are_not_numbers(load, tmp_path):
    codes = ["007", "7", "1E5", "100000", "9007199254740993", "9007199254740992", "7.0", "-3"]
    (tmp_path / "c.csv").write_text("x,code\n" + "".join(f"1,{c}\n" for c in codes))
    d = load("csv:c.csv#label=code")
    assert [d.schema.classes[i] for i in d.y] == [*codes[:6], "7", "-3"]
    assert d.schema.classes[0] == "-3"


def test_one_long_text_does_not_widen_the_others(load, tmp_path):
    """A cell may be longer than the csv module's limit, and costs its own length once."""
    long = "very " * 40_000
    (tmp_path / "r.csv").write_text("x,review,y\n" + f"1,{long},a\n" + "1,short,b\n" * 20_000)
    tracemalloc.start()
    d = load("csv:r.csv#label=y&drop=review")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert d.schema.classes == ("a", "b")
    assert peak < 100e6  # in cells of one width the column alone has 16 GB


def test_fractions_and_several_labels_are_regression(table):
    d = table("label=rate&drop=city,sick")
    assert d.schema.outputs == ("rate",)
    np.testing.assert_array_equal(d.y, [[0.5], [1.25], [2]])
    d = table("label=rate,score&drop=city,sick")
    assert d.schema.outputs == ("rate", "score")
    assert table("label=score&drop=city,sick&task=regression").schema.outputs == ("score",)


def test_without_a_label_the_domain_is_unlabelled(table):
    d = table("drop=city,sick")
    assert not isinstance(d, Labelled)
    assert d.schema.width == 0
    assert d.schema.shape == (4,)


@pytest.mark.parametrize(
    ("options", "sentence", "hint"),
    [
        ("label=sikc&drop=city", "people has no column 'sikc'", "'sick'"),
        ("label=sick&drop=town", "people has no column 'town'", "Known"),
        ("label=sick", "column 'city' holds text, such as 'Oslo'", "#drop=city"),
        ("label=age&drop=city,sick", "1 of 3 rows have no label in 'age', the first is row 2", ""),
        ("label=sick&drop=city&task=regression", "'sick' holds text", ""),
        ("label=rate&drop=city,sick&task=classes", "has the value 0.5, which names no class", ""),
        ("label=rate,score&drop=city,sick&task=classes", "task=classes takes one label", ""),
        ("label=sick&task=ranking", "task=ranking is not one of", ""),
        ("drop=city,sick&task=regression", "needs a label column", "label=COLUMN"),
        ("label=sick&drop=age,income,city,rate,score", "no feature column is left", ""),
        ("labels=sick", "has no option 'labels'", "'label'"),
    ],
)
def test_mistakes(table, options, sentence, hint):
    with pytest.raises(BadInput, match=sentence) as caught:
        table(options)
    assert hint in caught.value.hint


def test_a_blank_text_label(table):
    with pytest.raises(BadInput, match="1 of 2 rows have no label in 'y', the first is row 2"):
        table("label=y", "x,y\n1,a\n2,\n")


def test_a_column_name_may_hold_a_comma(table):
    assert table("label=a,b", '"a,b",x\nyes,1\nno,2\n').schema.classes == ("no", "yes")


def test_csv_faults_reach_the_user(load, tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3\n")
    with pytest.raises(BadInput, match="line 3"):
        load("csv:a.csv")


def test_parquet_types(load, tmp_path):
    columns = {
        "flag": pa.array([True, False, None]),
        "count": pa.array([1, None, 3], pa.int32()),
        "price": pa.array([1, 2, 3]).cast(pa.decimal128(22, 2)),
        "kind": pa.array(["u", "v", "u"]).dictionary_encode(),
        "sure": pa.array([True, False, True]),
        "when": pa.array([0, 1, 2], pa.timestamp("s")),
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    d = load("parquet:a.parquet#label=kind&drop=when")
    assert d.schema.classes == ("u", "v")
    np.testing.assert_array_equal(d.x, [[1, 1, 1, 1], [0, np.nan, 2, 0], [np.nan, 3, 3, 1]])
    assert load("parquet:a.parquet#label=sure&drop=when,kind").schema.classes == ("False", "True")
    with pytest.raises(BadInput, match="column 'when' holds text"):
        load("parquet:a.parquet#label=kind")


def test_parquet_that_is_broken(load, tmp_path):
    path = tmp_path / "a.parquet"
    for content in (b"", b"PAR1 is not enough PAR1", b"x,y\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.parquet is not a readable Parquet file"):
            load("parquet:a.parquet")
    parquet.write_table(pa.table({"x": pa.array([], pa.float64())}), path)
    with pytest.raises(BadInput, match="no rows"):
        load("parquet:a.parquet")


def test_parquet_without_pyarrow(load, tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ProviderUnavailable, match="pyarrow") as caught:
        load("parquet:a.parquet")
    assert caught.value.hint == "pip install 'isthmus[parquet]'"
