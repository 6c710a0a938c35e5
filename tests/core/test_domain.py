"""Domains refuse what does not fit, and a task cannot leak target labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from isthmus import BadInput, Domain, Labelled, Run, Schema, Task, UnsupportedTask
from isthmus_baselines.source_only import SourceOnly

X = np.arange(12, dtype=np.float32).reshape(6, 2)
TABLE = Schema(kind="table", shape=(2,), classes=("a", "b", "c"))
VALUES = Schema(kind="table", shape=(2,), outputs=("t",))


def labelled(y=(0, 1, 2, 0, 1, 2), schema=TABLE, name="s"):
    return Labelled(name=name, schema=schema, x=X, y=np.array(y))


def test_schema_is_for_classes_or_values():
    with pytest.raises(BadInput, match="not both"):
        Schema(kind="table", classes=("a",), outputs=("t",))
    with pytest.raises(BadInput, match=r"\['a'\] twice"):
        Schema(kind="table", classes=("a", "b", "a"))
    assert TABLE.width == 3
    assert VALUES.is_regression
    assert Schema(kind="table").width == 0


@pytest.mark.parametrize(
    ("y", "schema", "sentence"),
    [
        ((0, 1), TABLE, r"s: labels have shape \(2,\), expected \(6,\)"),
        ((0, 1, 2, 3, 0, 0), TABLE, "class ids run from 0 to 3, but there are 3 classes"),
        ((0, 1, 2, -1, 0, 0), TABLE, "class ids run from -1 to 2"),
        ((0.0, 1, 2, 0, 0, 0), TABLE, "class ids must be integers, got float64"),
        ((0.0,) * 6, VALUES, r"shape \(6,\), expected \(6, 1\)"),
        (((0.0,), (1,), (np.nan,), (3,), (4,), (5,)), VALUES, "row 2 is NaN or infinite"),
        (((0.0,), (1,), (np.inf,), (3,), (np.nan,), (5,)), VALUES, "row 2 and 1 more are NaN"),
    ],
)
def test_labels_that_do_not_fit(y, schema, sentence):
    with pytest.raises(BadInput, match=sentence):
        labelled(y, schema)


def test_rows_that_do_not_fit_the_schema():
    with pytest.raises(BadInput, match=r"d: instances have shape \(2,\), expected \(3,\)"):
        Domain(name="d", schema=Schema(kind="table", shape=(3,)), x=X)


@pytest.mark.parametrize("form", ["csc", "coo", "lil", "dok"])
def test_every_sparse_matrix_is_read_by_rows(form):
    d = Domain(name="d", schema=TABLE, x=sparse.csr_matrix(X).asformat(form))
    assert d.x.format == "csr"
    np.testing.assert_array_equal(d.take(np.array([4, 1])).x.toarray(), X[[4, 1]])
    with pytest.raises(BadInput, match=r"d: instances have shape \(3,\), expected \(2,\)"):
        Domain(name="d", schema=TABLE, x=sparse.random(6, 3, 0.5, form))


def test_what_is_missing_is_nan_whatever_holds_the_rows():
    holes = X.astype(object)
    holes[2, 1] = None
    masked = np.ma.masked_array(X, np.isnan(holes.astype(float)))
    for x in (holes, masked, holes.tolist()):
        d = Domain(name="d", schema=TABLE, x=x)
        assert type(d.x) is np.ndarray
        assert d.x.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(d.x), np.isnan(holes.astype(float)))
    np.testing.assert_array_equal(Domain(name="d", schema=TABLE, x=X.tolist()).x, X)
    task = Task(sources=(labelled(),), target=Domain(name="t", schema=TABLE, x=masked))
    with pytest.raises(UnsupportedTask, match="t has NaN or infinity in row 2, column 1"):
        SourceOnly().adapt(task, Run())


@pytest.mark.parametrize("x", [X.astype(str), [[1, "a"]], [[1, 2], [3]], [{}], X * 1j])
def test_what_holds_no_numbers_is_refused(x):
    with pytest.raises(BadInput, match="d: instances must be numbers"):
        Domain(name="d", schema=TABLE, x=x)


def test_labels_take_their_standard_types_and_leave_the_callers_alone():
    y = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    assert labelled(y).y.dtype == np.int64
    assert y.dtype == np.uint8
    values = Labelled(name="v", schema=VALUES, x=X, y=np.arange(6.0)[:, None])
    assert values.y.dtype == np.float32


def test_take_by_numbers_and_by_mask():
    d = labelled().take(np.array([5, 1]))
    assert d.y.tolist() == [2, 1]
    np.testing.assert_array_equal(d.x, X[[5, 1]])
    assert len(labelled().take(X[:, 0] > 5)) == 3
    assert not hasattr(labelled().unlabelled(), "y")


def test_recode_matches_classes_by_name():
    d = labelled().recode(Schema(kind="table", classes=("c", "x", "a", "b")))
    assert d.y.tolist() == [2, 3, 0, 2, 3, 0]
    assert d.schema.shape == (2,)
    assert labelled().recode(TABLE).y.tolist() == labelled().y.tolist()


def test_recode_names_a_class_the_source_lacks():
    with pytest.raises(BadInput, match="s has class 'c', which the source does not have"):
        labelled().recode(Schema(kind="table", classes=("a", "b", "cc")))
    # a class that no instance has is no obstacle
    assert len(labelled((0, 1, 0, 1, 0, 1)).recode(Schema(kind="table", classes=("b", "a")))) == 6


def test_a_task_drops_target_labels_and_takes_the_classes_of_the_source():
    other = Schema(kind="table", shape=(2,), classes=("p", "q", "r"))
    task = Task(sources=(labelled(),), target=labelled(schema=other, name="t"))
    assert type(task.target) is Domain
    assert "y" not in vars(task.target)
    assert task.schema == TABLE


def test_a_task_refuses_domains_that_differ():
    narrow = Domain(name="t", schema=Schema(kind="table", shape=(1,)), x=X[:, :1])
    with pytest.raises(BadInput, match="s has .* but t has"):
        Task(sources=(labelled(),), target=narrow)


def test_pooled_sources():
    target = Domain(name="t", schema=TABLE, x=X)
    both = Task(sources=(labelled(), labelled(name="u")), target=target).source
    assert both.name == "s+u"
    assert len(both) == 12
    assert both.y.tolist() == [0, 1, 2] * 4
    with pytest.raises(BadInput, match="no source"):
        _ = Task(target=target).source
