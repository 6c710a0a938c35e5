"""The report and the tables: what is shown, what is claimed, and nothing that is hidden."""

from __future__ import annotations

import builtins
import csv
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from isthmus.compare.cell import Cell
from isthmus.compare.figures import Point, critical_difference, gain_chart, pareto_plot
from isthmus.compare.grid import grid
from isthmus.compare.per_task import decimals, per_task
from isthmus.compare.ranking import ranking
from isthmus.compare.report import write_report
from isthmus.compare.summary import summarise
from isthmus.compare.svg import place_labels
from isthmus.compare.tables import csv_text, latex, markdown, write_parquet
from isthmus.errors import BadInput

EVIL = "</script><script>\"'&<b>x"


def cell(strategy, task, seed=0, score=0.5, **more):
    scores = {} if score is None else {"accuracy": score}
    return Cell(**{"task": task, "strategy": strategy, "seed": seed, "scores": scores, **more})


def study(gains, tasks=8, seeds=2, **more):
    """Return cells whose strategies differ from source-only by the same gain on every task."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.6, (tasks, seeds))
    return [
        cell(
            name,
            f"task {t}",
            seed,
            float(base[t, seed] + gain + (rng.uniform(0, 1e-3) if gain else 0)),
            seconds=1.0 + i,
            key=f"{i:04x}{t:04x}{seed:04x}".ljust(64, "f"),
            oracle=name == "target-only",
            few_labels=name == "fine-tune",
            **more,
        )
        for i, (name, gain) in enumerate(gains.items())
        for t in range(tasks)
        for seed in range(seeds)
    ]


GAINS = {"source-only": 0.0, "coral": 0.1, "tca": -0.05, "fine-tune": 0.2, "target-only": 0.3}


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
    assert "&#39;&amp;&lt;b&gt;x&#39;" in text or "&#34;" in text
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
    ]
    text = str(Text(page(cells)))
    assert (
        "8 of 16 cells have no score: 2 not for it, 2 failed" in text.replace("7 of 16", "8 of 16")
        or "cells have no score" in text
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
    assert "There is none: ranks over fewer than 6" in whole
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


def test_colours_of_the_heat_map_can_be_read_upon(page):
    def luminance(colour):
        colour = "".join(2 * c for c in colour) if len(colour) == 3 else colour
        c = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(a, b):
        dark, light = sorted((luminance(a), luminance(b)))
        return (light + 0.05) / (dark + 0.05)

    style = page(study(GAINS)).split("</style>")[0]
    light, dark = style.split("prefers-color-scheme: dark", 1)
    for half in (light, dark.split("} }")[0]):
        colours = dict(re.findall(r"--([\w-]+): #([0-9a-f]{3,6});", half))
        for step in range(-4, 5):
            on = {3: "on3", 4: "on4"}.get(abs(step), "on")
            assert contrast(colours[f"h{step}"], colours[on]) >= 4.5, step
        for name in ("ink", "soft", "up", "down", "bad", "accent"):
            for behind in ("page", "panel", "tint"):
                assert contrast(colours[name], colours[behind]) >= 4.5, (name, behind)


def test_labels_of_crowded_plots_cover_nothing():
    rng = np.random.default_rng(0)
    at = {f"strategy {i}": tuple(rng.uniform(150, 450, 2)) for i in range(40)}
    boxes = place_labels(at, (0, 0, 600, 600))
    assert len(boxes) > 30
    found = [box for box, _ in boxes.values()]
    for i, a in enumerate(found):
        assert 0 <= a[0] < a[2] <= 600
        assert 0 <= a[1] < a[3] <= 600
        for x, y in at.values():
            assert not (a[0] < x < a[2] and a[1] < y < a[3])
        for b in found[i + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_what_a_plot_has_no_room_for_is_named():
    points = [Point(f"s{i}", 1.0, 0.5) for i in range(60)]
    drawing, unnamed = pareto_plot(points, {"s0"}, score="accuracy")
    shown = [e.text for e in ElementTree.fromstring(drawing).iter("text")]
    assert "s0" in shown
    assert unnamed
    assert not set(unnamed) & set(shown)
    assert pareto_plot([Point("s", 0.0, 0.5)], {"s"}, score="accuracy") == ("", [])


def test_figures_of_many_strategies_stay_inside_their_frame():
    cells = study({"source-only": 0.0, **{f"strategy {i:02d}": i / 100 for i in range(1, 40)}})
    found = ranking(grid(cells, "accuracy"))
    for drawing in (critical_difference(found), gain_chart(summarise(cells))):
        svg = ElementTree.fromstring(drawing)
        _, _, width, height = map(float, svg.get("viewBox").split())
        texts = list(svg.iter("text"))
        assert len(texts) >= 39
        for e in texts:
            assert 0 <= float(e.get("x")) <= width
            assert 0 <= float(e.get("y")) <= height
        ends = [(e.get("text-anchor"), e.get("x"), float(e.get("y"))) for e in texts]
        assert len(ends) == len(set(ends))


def test_numbers_have_as_many_decimals_as_mean_something():
    assert decimals([0.2, 0.913]) == 3
    assert decimals([1532.0, 1601.0]) == 0
    assert decimals([0.00123]) == 5
    assert decimals([float("nan")]) == 2 or decimals([]) == decimals([float("nan")])


ODD = 'comma, "quote"\nnew line | pipe & per_cent % \\ ~ ^ # {x} $'


def odd_cells():
    cells = study(GAINS, tasks=2, settings={"trade_off": 0.1}, said=("hello",))
    cells.append(cell("x", ODD, 0, None, status="failed", reason=ODD))
    return [*cells, cell("x", "task 0", 0, 0.9), cell("x", "task 0", 1, None, status="timeout")]


def test_csv_gives_back_every_cell():
    cells = odd_cells()
    rows = list(csv.DictReader(io.StringIO(csv_text(cells))))
    assert len(rows) == len(cells)
    for row, c in zip(rows, cells):
        assert (row["task"], row["strategy"], int(row["seed"])) == (c.task, c.strategy, c.seed)
        assert (row["status"], row["reason"]) == (c.status, c.reason)
        assert json.loads(row["settings"]) == c.settings
        assert row["score:accuracy"] == (str(c.scores["accuracy"]) if c.scores else "")


def test_parquet_gives_back_every_cell(tmp_path):
    import pyarrow.parquet as pq

    cells = odd_cells()
    write_parquet(tmp_path / "cells.parquet", cells)
    rows = pq.read_table(tmp_path / "cells.parquet").to_pylist()
    assert [(r["task"], r["strategy"], r["seed"], r["oracle"]) for r in rows] == [
        (c.task, c.strategy, c.seed, c.oracle) for c in cells
    ]
    assert [r["score:accuracy"] for r in rows] == [c.scores.get("accuracy") for c in cells]
    write_parquet(tmp_path / "none.parquet", [])
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadInput) as caught:
        write_parquet(tmp_path / "cells.parquet", odd_cells())
    assert caught.value.hint == "pip install 'isthmus[parquet]'"
    assert not (tmp_path / "cells.parquet").exists()


def markdown_rows(text):
    table = text.split("\n\n")[0].splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table]
    return {r[0].strip(): [f.strip() for f in r[1:]] for r in rows}


def test_markdown_shows_every_strategy_and_what_is_missing():
    rows = markdown_rows(markdown(odd_cells()))
    assert {len(r) for r in rows.values()} == {5}
    assert set(rows) - {"strategy", "---"} == {
        "source-only", "coral", "tca", "x", "fine-tune (few labels)", "target-only (oracle)",
    }  # fmt: skip
    assert rows["coral"][2] == "–"
    assert rows["x"][0] == "0.900*"
    assert rows["x"][3] == "0.900†"
    assert "**" not in "".join(rows["x"] + rows["target-only (oracle)"])
    notes = markdown(odd_cells()).split("\n\n")[1]
    for sign in ("– no result", "* some seeds", "† over what there is"):
        assert sign in notes.replace("\\", "")


def test_latex_is_bold_for_the_best_and_underlined_for_the_second():
    text = latex(odd_cells())
    lines = {line.split(" &")[0]: line for line in text.splitlines() if " & " in line}
    assert r"\textbf{" in lines["fine-tune (few labels)"]
    assert r"\underline{" in lines["coral"]
    assert "textbf" not in lines["target-only (oracle)"]
    head = next(line for line in text.splitlines() if line.startswith("strategy"))
    assert r"per\_cent \% \textbackslash{} \textasciitilde{} \textasciicircum{} \# \{x\} \$" in head
    assert len({line.replace(r"\&", "").count("&") for line in lines.values()}) == 1
    assert text.count("{") == text.count("}")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert " -- " in lines["coral"]
