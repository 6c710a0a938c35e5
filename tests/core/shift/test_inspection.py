"""The whole inspection: every kind, any order of rows, JSON and page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from isthmus import Domain, Labelled, Run, Schema, Task
from isthmus.errors import BadInput, UnsupportedTask
from isthmus.graph import Graph
from isthmus.shift import drawing, inspect_shift
from isthmus.shift.page import page
from isthmus.shift.summary import summary
from isthmus.testing import domains as makers

KEYS = {
    "source", "target", "kind", "rows", "read_as", "coordinates", "kept", "seed", "shift",
    "domains", "size", "sources", "kinds", "priors", "concept", "columns", "coverage", "advice",
    "correspondence", "notes",
}  # fmt: skip
FAMILIES = {"baseline", "reweighting", "alignment", "finetuning", "relational"}


def blobs(seed, n=300, shares=(0.5, 0.5), move=0.0, name="d", d=5):
    """Two Gaussian classes; ``move`` shifts a column that says nothing of the class."""
    rng = np.random.default_rng(seed)
    y = rng.choice(2, n, p=shares)
    x = rng.normal(size=(n, d))
    x[:, 0] += 2.5 * y
    x[:, 1] += move
    schema = Schema(kind="table", shape=(d,), classes=("no", "yes"))
    return Labelled(name=name, schema=schema, x=x.astype(np.float32), y=y)


def fits(shift):
    return {a.family: a.fit for a in shift.advice}


@pytest.mark.parametrize("kind", ["table", "table_binary", "table_values", "image", "graph"])
def test_every_kind_gives_json_a_summary_and_a_page(kind):
    task, _ = getattr(makers, kind)(0)
    shift = inspect_shift(task)
    found = json.loads(json.dumps(shift.to_json(), allow_nan=False))
    assert set(found) == KEYS
    assert set(found["size"]) == {"a_distance", "mmd", "frechet", "sliced_wasserstein"}
    assert all(set(v) == {"value", "null", "ratio"} for v in found["size"].values())
    assert {a["family"] for a in found["advice"]} <= FAMILIES
    assert (found["priors"] is None) == (kind == "table_values")
    assert found["kinds"]["concept"] in ("shown", "none shown", "unknown")
    if found["priors"]:
        assert set(found["priors"]["classes"]) == set(task.schema.classes)
    text = summary(shift)
    assert len(text.splitlines()) < 30
    assert max(map(len, text.splitlines())) <= 100
    assert "<svg" in page(shift)


def test_no_shift_a_label_shift_and_a_covariate_shift_are_told_apart():
    source = blobs(10, 600)
    none = inspect_shift(Task(sources=(source,), target=blobs(11, 600)))
    assert not none.shown
    assert fits(none) == {"baseline": "suits"}
    label = inspect_shift(Task(sources=(source,), target=blobs(2, 600, (0.15, 0.85))))
    assert label.to_json()["kinds"]["label"] == "label shift"
    assert label.covariate == "explained by class shares"
    assert fits(label)["reweighting"] == "suits"
    assert fits(label)["alignment"] == "unlikely"
    moved = inspect_shift(Task(sources=(source,), target=blobs(3, 600, move=1.5)))
    assert moved.covariate == "shown"
    assert moved.to_json()["kinds"]["label"] == "none shown"
    assert moved.columns.top[0].name == "column 1"
    far = inspect_shift(Task(sources=(source,), target=blobs(4, 600, move=9)))
    assert far.coverage.outside == 1
    assert fits(far)["alignment"] == "suits"
    assert fits(far)["reweighting"] == "unlikely"
    assert far.domains.a_distance > 1.97


def test_a_shift_is_seldom_shown_where_there_is_none():
    pairs = [Task(sources=(blobs(2 * i, 80),), target=blobs(2 * i + 1, 60)) for i in range(25)]
    assert sum(inspect_shift(task).shown for task in pairs) <= 5  # one or two expected


def test_support_shows_a_changed_concept_and_only_support_does():
    source, target = blobs(10, 600), blobs(11, 600)
    swapped = blobs(2, 40)
    swapped = replace(swapped, y=1 - swapped.y)
    blind = inspect_shift(Task(sources=(source,), target=target))
    assert blind.to_json()["kinds"]["concept"] == "unknown"
    assert "cannot be known" in summary(blind)
    seen = inspect_shift(Task(sources=(source,), target=target, support=swapped))
    assert seen.concept is not None
    assert seen.concept.verdict == "shown"
    assert fits(seen) == {"finetuning": "suits", "baseline": "may suit"}


def test_the_order_of_the_rows_does_not_matter(monkeypatch):
    monkeypatch.setattr(drawing, "ROWS", 90)  # so that rows are drawn, too
    source, target, support = blobs(0, 120), blobs(1, 130, move=1), blobs(2, 20, move=1)
    rng = np.random.default_rng(0)

    def shuffled(d):
        return d.take(rng.permutation(len(d)))

    task = Task(sources=(source,), target=target, support=support)
    other = Task(sources=(shuffled(source),), target=shuffled(target), support=shuffled(support))
    first = inspect_shift(task, Run(seed=3))
    assert inspect_shift(other, Run(seed=3)).to_json() == first.to_json()
    assert page(inspect_shift(other, Run(seed=3))) == page(first)
    assert inspect_shift(task, Run(seed=4)).to_json() != first.to_json()
    assert first.source_rows.used == 90
    assert any("90 of 120 source rows" in note for note in first.notes)


def test_several_sources_are_pooled_and_the_nearest_is_named_first():
    near, far = blobs(0, 200, move=0.5, name="near"), blobs(1, 200, move=6, name="far")
    shift = inspect_shift(Task(sources=(far, near), target=blobs(2, 200)))
    assert [s.name for s in shift.sources] == ["near", "far"]
    assert shift.sources[0].mmd < shift.sources[1].mmd
    assert "nearest first: near" in summary(shift)


def test_a_wide_csr_table_is_not_made_dense():
    rng = np.random.default_rng(0)
    schema = Schema(kind="table", shape=(50_000,), classes=("a", "b"))

    def draw(name, topic):
        x = sparse.random(300, 50_000, 0.001, "csr", np.float32, random_state=rng)
        y = rng.integers(2, size=300)
        marks = sparse.csr_matrix((np.ones(300), (np.arange(300), y)), (300, 50_000))
        words = sparse.csr_matrix((np.ones(300), (np.arange(300), [topic] * 300)), (300, 50_000))
        x = (x + marks + words).tocsr().astype(np.float32)
        return Labelled(name=name, schema=schema, x=x, y=y)

    shift = inspect_shift(Task(sources=(draw("s", 7),), target=draw("t", 8)))
    assert {c.name for c in shift.columns.top[:2]} == {"column 7", "column 8"}
    assert shift.columns.tested < shift.columns.of
    assert shift.domains.accuracy > 0.9


def test_degrees_are_a_column_of_a_graph():
    task, _ = makers.graph(0)
    half = task.target.x
    thinned = tuple(replace(r, index=r.index[:, ::4]) for r in half.relations)
    target = replace(task.target, x=Graph(half.features, thinned))
    shift = inspect_shift(replace(task, target=target))
    assert shift.columns.top[0].name == "log(1 + degree)"
    sparse_task = Task(
        sources=tuple(
            replace(d, x=Graph(sparse.csr_matrix(d.x.features), d.x.relations))
            for d in task.sources
        ),
        target=replace(target, x=Graph(sparse.csr_matrix(half.features), thinned)),
    )
    assert inspect_shift(sparse_task).columns.top[0].name == "log(1 + degree)"


def test_series_are_read_flat():
    rng = np.random.default_rng(0)
    schema = Schema(kind="series", shape=(2, 6), classes=("a", "b"))
    x = rng.normal(size=(80, 2, 6)).astype(np.float32)
    y = np.arange(80) % 2
    source = Labelled(name="s", schema=schema, x=x, y=y)
    moved = x + np.float32([[0], [3]])
    shift = inspect_shift(Task(sources=(source,), target=Domain(name="t", schema=schema, x=moved)))
    assert all(c.name.startswith("channel 1") for c in shift.columns.top[:6])


def test_rows_in_both_domains_are_pointed_out():
    source = blobs(0, 200)
    shift = inspect_shift(Task(sources=(source,), target=source.take(np.arange(150))))
    assert any("150 target rows are also source rows" in note for note in shift.notes)
    assert not shift.shown


def test_the_page_needs_no_network_and_escapes_names():
    schema = Schema(
        kind="table",
        shape=(5,),
        classes=("<script>alert(1)</script>", "b&b"),
        features=("<img src=x>", "a", "b", "c", "d"),
    )
    source, target = (
        Labelled(name=f"<b>{i}</b>", schema=schema, x=blobs(i, move=3 * i).x, y=blobs(i).y)
        for i in (0, 1)
    )
    moved = replace(target, x=target.x + np.float32([9, 0, 0, 0, 0]))
    text = page(inspect_shift(Task(sources=(source,), target=moved)))
    for bad in ("<script", "<img", "<b>0", "http:", "https:", "url(", "@import", "src="):
        assert bad not in text.replace("&lt;img src=x&gt;", ""), bad
    assert "&lt;script&gt;" in text
    assert "&lt;img src=x&gt;" in text
    assert len(re.findall("<svg", text)) == text.count("</svg>") == 3
    assert len(text) < 150_000


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda t: replace(t, target=t.target.take(slice(0, 0))), "empty"),
        (lambda t: replace(t, target=t.target.take(slice(0, 7))), "10 instances"),
        (lambda t: replace(t, target=replace(t.target, x=t.target.x * np.nan)), "NaN"),
        (lambda t: replace(t, sources=(t.source.take(t.source.y == 0),)), "two classes"),
        (lambda t: replace(t, sources=()), "source domain"),
    ],
)
def test_bad_input_gets_a_reason(change, word):
    task = Task(sources=(blobs(0, 60),), target=blobs(1, 60))
    with pytest.raises(BadInput, match=word):
        inspect_shift(change(task))


def test_kinds_that_cannot_be_compared_are_refused():
    schema = Schema(kind="text", classes=("a", "b"))
    d = Labelled(name="t", schema=schema, x=np.array(["x"] * 20), y=np.arange(20) % 2)
    with pytest.raises(UnsupportedTask, match="'text'"):
        inspect_shift(Task(sources=(d,), target=d))
    schema = Schema(kind="image", shape=(80, 80, 1), classes=("a", "b"))
    x = np.zeros((20, 80, 80, 1), np.uint8)
    d = Labelled(name="t", schema=schema, x=x, y=np.arange(20) % 2)
    with pytest.raises(UnsupportedTask, match="6400 values"):
        inspect_shift(Task(sources=(d,), target=d))


def test_images_are_compared_by_the_features_of_a_network():
    from isthmus.learners import LeNet

    task, _ = makers.image(0)
    shift = inspect_shift(task, network=LeNet(bottleneck=16))
    assert shift.read_as == "16 features of LeNet"
    assert inspect_shift(task, network=LeNet(bottleneck=16)).to_json() == shift.to_json()


def test_the_example_of_the_page_runs(capsys):
    text = (Path(__file__).parents[3] / "docs" / "inspect.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(block, "inspect.md", "exec"), {})
    assert capsys.readouterr().out.startswith("True 0.")
