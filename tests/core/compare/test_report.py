"""The report: what is shown and claimed, nothing that is hidden, and no harm from names."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from core.compare.made_up import GAINS, cell, study
from isthmus.compare.cell import Cell
from isthmus.compare.grid import grid
from isthmus.compare.per_task import per_task
from isthmus.compare.report import write_report
from isthmus.compare.summary import summarise
from isthmus.compare.tables import markdown

EVIL = "</script><script>\"'&<b>x"


@pytest.fixture
def page(tmp_path):
    def write(cells, title="t", **more):
        write_report(tmp_path / "r.html", title, cells, **more)
        return (tmp_path / "r.html").read_text(encoding="utf-8")

    return write


class Text(HTMLParser):
    """The page as its reader sees it: no markup, no script, no style."""

    def __init__(self, page):
        super().__init__()
        self.parts, self.open, self.starts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.starts.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.parts.append(data)

    def __str__(self):
        return " ".join(" ".join(self.parts).split())


def lead(page):
    return re.search(r'<p class="lead">(.*?)</p>', page, re.DOTALL)[1]


def data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_refers_to_nothing_outside_itself(page):
    text = page(study(GAINS))
    assert "http" not in text.replace("http://www.w3.org", "")
    for tag, attributes in Text(text).starts:
        assert tag not in ("link", "iframe", "object")
        assert not attributes.get("src", "data:").removeprefix("data:").startswith("/")
        assert attributes.get("href", "#").startswith("#")
    assert "@import" not in text
    assert "url(" not in text


def test_strangers_names_and_sentences_do_no_harm(page):
    cells = [
        cell("source-only", EVIL),
        cell(EVIL, EVIL, score=0.6, said=(EVIL,), family=EVIL, scores={"accuracy": 0.6, EVIL: 1}),
        cell("x", EVIL, score=None, status="failed", reason=f"Traceback\n{EVIL}"),
    ]
    text = page(cells, title=EVIL, notes=[EVIL], how={EVIL: EVIL}, study=EVIL, validators={EVIL: 1})
    assert "<b>x" not in text
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert data(text)["strategies"][1] == EVIL
    assert EVIL in data(text)["scores"]
    assert EVIL in str(Text(text))
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)


@pytest.fixture(scope="module")
def large():
    rng = np.random.default_rng(0)
    scores = (
        "accuracy",
        "balanced-accuracy",
        "ece",
        "information-maximisation",
        "soft-neighbourhood",
    )
    return [
        Cell(
            task=f"domain number {t} -> domain number {t + 1}",
            strategy="source-only" if s == 0 else f"strategy-{s} (trade_off={s / 10})",
            seed=r,
            family="alignment",
            seconds=float(rng.uniform(1, 100)),
            scores={k: float(v) for k, v in zip(scores, rng.uniform(size=5))},
            said=(f"stopped after {rng.integers(1000)} steps",),
            key=rng.bytes(32).hex(),
        )
        for s in range(50)
        for t in range(40)
        for r in range(5)
    ]


def test_ten_thousand_cells_are_a_small_page(page, large):
    assert len(large) == 10_000
    assert len(page(large).encode()) < 2_000_000


def test_ten_thousand_different_reasons_are_a_small_page(page, large):
    words = np.random.default_rng(0).integers(97, 123, (len(large), 12)).astype(np.uint8)
    lost = [
        Cell(task=c.task, strategy=c.strategy, seed=c.seed, status="failed",
             reason=f"Traceback\n{'x' * 9000}\n{word.tobytes().decode()}")
        for c, word in zip(large, words)
    ]  # fmt: skip
    text = page(lost)
    assert len(text.encode()) < 2_000_000
    assert "9964 more kinds of reason are left out" in text
    assert "No strategy has a score" in text


def test_every_way_to_lack_a_score_is_seen_and_told_apart(page):
    cells = study({"source-only": 0.0, "coral": 0.1}, tasks=2)
    cells += [
        cell("a", "task 0", 0, None, status="refused", reason="a reads graphs only"),
        cell("a", "task 0", 1, None, status="refused", reason="a reads graphs only"),
        cell("b", "task 0", 0, None, status="failed", reason="Traceback\n  line\nIt broke"),
        cell("b", "task 1", 0, None, status="timeout", reason="given up after 60 s"),
        cell("c", "task 0", 0, 0.7),
        cell("c", "task 0", 1, None, status="failed", reason="Traceback\n  line\nIt broke"),
        cell("d", "task 0", 0, None, status="missing", reason="not run yet"),
        cell("d", "task 1", 0, None, scores={"ece": 0.1}),
        cell("d", "task 1", 1, float("nan")),
    ]
    text = str(Text(page(cells)))
    assert (
        "8 of 17 cells have no score: 2 not for it, 2 failed, 1 timed out, 1 not run yet, "
        "2 ran without this score." in text
    )
    states = per_task(cells, grid(cells, "accuracy")).states
    assert states[2:] == [
        ["refused", "not asked"],
        ["failed", "timeout"],
        ["partial", "not asked"],
        ["not run", "no score"],
    ]
    for words in ("not for it", "failed", "timed out", "1 of 2", "not in the study", "not run"):
        assert words in text
    assert "×2: It broke" in text
    assert "×1: no accuracy: it came out as nan" in text
    assert "a reads graphs only" in text
    assert "Traceback line It broke" in text


def test_an_oracle_is_never_the_best_and_is_marked(page):
    text = page(study(GAINS))
    assert lead(text).startswith("Best without target labels is coral with a gain of +0.10")
    assert "With a few target labels the best is fine-tune" in lead(text)
    assert "target-only" not in lead(text)
    rows = re.findall(r'<tr data-s="\d+" data-family.*?</tr>', text, re.DOTALL)
    places = {str(Text(r)).split()[0]: str(Text(r)) for r in rows}
    assert places["target-only"].startswith("target-only oracle –")
    assert places["fine-tune"].startswith("fine-tune few labels 1")
    only = page(study({"source-only": 0.0, "target-only": 0.3}))
    assert lead(only).startswith("There is nothing to compare with source-only")


def test_the_direction_of_the_score_turns_what_is_best(page):
    cells = study({"source-only": 0.0, "coral": 0.1, "tca": -0.05})
    assert "Best without target labels is coral" in lead(page(cells))
    assert "Best without target labels is tca" in lead(page(cells, higher=False))
    assert "+0.05" in lead(page(cells, higher=False))
    assert "lower is better" in page(cells, higher=False)
    assert "**0.6" in markdown(cells)
    assert "**0.6" not in markdown(cells, higher=False)


def test_few_tasks_and_no_gain_claim_nothing(page):
    text = lead(page(study({"source-only": 0.0, "coral": 0.1}, tasks=3)))
    assert "Nothing is claimed: 3 tasks cannot show a difference" in text
    assert "shown to be better" not in text
    assert "takes at least 6" in text
    whole = page(study({"source-only": 0.0, "coral": 0.1}, tasks=3))
    assert "▲ better" not in whole
    assert (
        "No diagram: ranks need at least 6 tasks with every score to show a difference, and 3 have"
        in whole
    )
    worse = lead(page(study({"source-only": 0.0, "coral": -0.1})))
    assert worse.startswith("No strategy gains on source-only on average")
    assert "shown to be better" in lead(page(study({"source-only": 0.0, "coral": 0.1})))


def test_another_score_ranks_when_it_is_named(page):
    cells = study({"source-only": 0.0, "coral": 0.1, "tca": 0.05})
    cells = [
        Cell(**{**vars(c), "scores": {**c.scores, "ece": 1 - c.scores["accuracy"]}}) for c in cells
    ]
    assert "is coral" in lead(page(cells, score="ece", higher=False))
    assert "in ece" in lead(page(cells, score="ece", higher=False))


def test_validators_are_judged_as_rules_of_selection(page):
    cells = [
        Cell(**{**vars(c), "scores": {**c.scores, "entropy": -c.scores["accuracy"]}})
        for c in study({"source-only": 0.0, "coral": 0.1, "tca": -0.05})
    ]
    text = str(Text(page(cells, validators={"entropy": False})))
    chosen = text.split("chose most often")[1]
    assert re.search(r"entropy 0\.\d+ \+0\.1\d+ 0\.000 0 % 8 – coral ×16", chosen)
    assert "Chosen without target labels" not in str(Text(page(cells)))


def test_the_form_knows_every_cell_and_the_command_is_one_that_a_shell_can_read(page):
    cells = study(GAINS)
    text = page(cells, study="my study.toml")
    found = data(text)
    for c in cells:
        s = found["strategies"].index(c.strategy)
        at = found["tasks"].index(c.task) * len(found["seeds"]) + found["seeds"].index(c.seed)
        assert found["keys"][s][at] == c.key[:12]
        assert found["scores"]["accuracy"][s][at] == pytest.approx(c.scores["accuracy"], rel=1e-5)
        assert c.key[:12] in text.split("<noscript>")[1]
    assert "isthmus compare &#39;my study.toml&#39; --cell KEY" in text


def test_the_browser_computes_from_the_numbers_of_the_statistics(page):
    cells = study(GAINS)
    cells[40] = cell("tca", cells[40].task, cells[40].seed, None, status="failed", reason="x")
    found = data(page(cells))
    for row in summarise(cells):
        s = found["strategies"].index(row["strategy"])
        mean = [x for x in found["mean"][s] if x is not None]
        assert np.mean(mean) == pytest.approx(row["mean"])
        assert np.mean([x for x in found["gain"][s] if x is not None]) == pytest.approx(row["gain"])
        assert sum(found["missing"][s]) == row["missing"]


def test_structure_for_readers_who_do_not_see_the_page(page):
    parsed = Text(page(study(GAINS)))
    for tag, attributes in parsed.starts:
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
        if attributes.get("class") == "scroll":
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]
    tags = [tag for tag, _ in parsed.starts]
    assert tags.count("table") == tags.count("caption")
    assert tags.count("h1") == 1
    ids = [a["id"] for _, a in parsed.starts if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in parsed.starts if tag == "a"} <= set(ids)
