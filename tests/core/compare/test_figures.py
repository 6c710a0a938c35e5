"""Figures: labels cover nothing, stay inside, and what has no room is named."""

from __future__ import annotations

import re
from importlib.resources import files
from xml.etree import ElementTree

import numpy as np

from core.compare.made_up import study
from isthmus.compare.figures import Point, critical_difference, gain_chart, pareto_plot
from isthmus.compare.grid import grid
from isthmus.compare.per_task import decimals
from isthmus.compare.ranking import ranking
from isthmus.compare.summary import summarise
from isthmus.compare.svg import place_labels, text_width


def test_labels_of_crowded_plots_cover_nothing():
    rng = np.random.default_rng(0)
    at = {f"strategy {i}": tuple(rng.uniform(150, 450, 2)) for i in range(40)}
    boxes = place_labels(at, {name: name for name in at}, (0, 0, 600, 600))
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
            wide = text_width("".join(e.itertext()))
            start = (
                float(e.get("x"))
                - {"start": 0, "middle": wide / 2, "end": wide}[e.get("text-anchor", "start")]
            )
            assert 0 <= start <= start + wide <= width
            assert 0 <= float(e.get("y")) <= height
        ends = [(e.get("text-anchor"), e.get("x"), float(e.get("y"))) for e in texts]
        assert len(ends) == len(set(ends))


def test_colours_of_the_heat_map_can_be_read_upon():
    def luminance(colour):
        colour = "".join(2 * c for c in colour) if len(colour) == 3 else colour
        c = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(a, b):
        dark, light = sorted((luminance(a), luminance(b)))
        return (light + 0.05) / (dark + 0.05)

    style = files("isthmus.compare").joinpath("templates/report.css").read_text()
    light, dark = style.split("prefers-color-scheme: dark", 1)
    for half in (light, dark.split("} }")[0]):
        colours = dict(re.findall(r"--([\w-]+): #([0-9a-f]{3,6});", half))
        for step in range(-4, 5):
            on = {3: "on3", 4: "on4"}.get(abs(step), "on")
            assert contrast(colours[f"h{step}"], colours[on]) >= 4.5, step
        for name in ("ink", "soft", "up", "down", "bad", "accent"):
            for behind in ("page", "panel", "tint"):
                assert contrast(colours[name], colours[behind]) >= 4.5, (name, behind)


def test_numbers_have_as_many_decimals_as_mean_something():
    assert decimals([0.2, 0.913]) == 3
    assert decimals([1532.0, 1601.0]) == 0
    assert decimals([0.00123]) == 5
    assert decimals([]) == decimals([float("nan"), 0.0]) == 3
