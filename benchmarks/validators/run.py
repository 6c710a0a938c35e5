"""What the validators cost: beside skada's scorers on one problem, and alone at a larger size.

    python benchmarks/validators/run.py [N COLUMNS [VALIDATOR ...]]

With skada importable (``PYTHONPATH=FOLDER`` after ``pip install --target FOLDER skada``), the first
part runs both on N = 3,000 instances of each domain, taking turns. The second part runs each of
ours on 100,000 instances of each domain, in a process of its own, for its peak memory (Linux); it
is left out where validators are named.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from isthmus import Adapted, Evaluator, Evidence, Labelled, Recipe, Run, Schema, Task, rows
from isthmus.evaluator import judge
from isthmus_alignment.shallow.coral import CORAL
from isthmus_evaluators import plugin

CLASSES, TURNS = 10, 5
VALIDATORS = {cls.name: cls for cls in plugin.isthmus_evaluators() if not cls.reads_labels}


def problem(n: int, d: int) -> tuple[Labelled, Labelled, Labelled]:
    """Return source, held-out source and target: ten classes, columns correlated as features are.

    The eigenvalues of the covariance fall as 1, 1/2, 1/3, ...; the target is sheared and moved.
    """
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    mix = (turn / np.sqrt(np.arange(1, d + 1))) @ turn.T
    centres = rng.normal(0, 1.5 * (10 / d) ** 0.5, (CLASSES, d)) @ mix
    shear = np.eye(d) + 0.3 * rng.normal(size=(d, d)) / d**0.5
    schema = Schema(kind="table", shape=(d,), classes=tuple(map(str, range(CLASSES))))

    def draw(name: str, shift: bool) -> Labelled:
        y, x = rng.integers(0, CLASSES, n), np.empty((n, d), np.float32)
        for part in rows.chunks(n, 4_096):  # so that the peak of memory is not made here
            own = centres[y[part]] + rng.normal(size=(part.stop - part.start, d)) @ mix
            x[part] = own @ shear + 0.1 if shift else own
        return Labelled(name=name, schema=schema, x=x, y=y)

    return draw("source", False), draw("held out", False), draw("target", True)


def evidence_of(n: int, d: int, adapted: Adapted | None = None) -> Evidence:
    source, held_out, target = problem(n, d)
    task, run = Task(sources=(source,), target=target), Run()
    return Evidence(
        adapted=adapted or CORAL().adapt(task, run),
        target=target.unlabelled(),
        source=held_out,
        recipe=Recipe(strategy=CORAL(), task=task, run=run),
    )


def timed(validator: Evaluator, e: Evidence) -> tuple[float, float]:
    """Return score and seconds, passes through the model included: nothing is cached."""
    fresh = Evidence(adapted=e.adapted, target=e.target, source=e.source, recipe=e.recipe)
    began = time.perf_counter()
    score = judge(validator, fresh)
    assert isinstance(score, float)
    return score, time.perf_counter() - began


class Borrowed(Adapted):
    """skada's estimator as an artefact, so that both score the same predictions."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def predict(self, x: Any) -> Any:
        domain = np.full(len(x), -2)
        return self.estimator.predict_proba(x, sample_domain=domain).astype(np.float32)


def skada_scorers(e: Evidence) -> tuple[dict[str, Callable[[], float]], Borrowed]:
    """Return skada's scorers by the name of ours, and its estimator."""
    from skada import CORALAdapter, make_da_pipeline, metrics
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    # As exact as ours: both ways back end with this model.
    model = LogisticRegression(max_iter=3000, tol=1e-6).set_score_request(sample_weight=True)
    estimator = make_da_pipeline(StandardScaler(), CORALAdapter(reg=1.0), model)
    source, target = e.held_out_source, e.target
    x = np.concatenate([source.x, target.x])
    y = np.concatenate([source.y, np.full(len(target), -1)])
    domain = np.repeat([1, -2], [len(source), len(target)])
    estimator.fit(x, y.copy(), sample_domain=domain)
    made = {
        "importance-weighted-risk": metrics.ImportanceWeightedScorer(),
        "dev": metrics.DeepEmbeddedValidation(random_state=0),
        "entropy": metrics.PredictionEntropyScorer(),
        "snd": metrics.SoftNeighborhoodDensity(),
        "mixval": metrics.MixValScorer(random_state=0),
        "reverse-validation": metrics.CircularValidation(),
    }

    def call(scorer: Any) -> Callable[[], float]:
        return lambda: float(scorer(estimator, x, y.copy(), sample_domain=domain))

    return {name: call(scorer) for name, scorer in made.items()}, Borrowed(estimator)


def beside(n: int, d: int, names: list[str]) -> None:
    try:
        import skada
    except ImportError:
        print("skada is not importable: its half is left out")
        return
    e = evidence_of(n, d)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # skada warns of scikit-learn's coming versions
        theirs, borrowed = skada_scorers(e)
        print(f"skada {skada.__version__}, n = {n} of each domain, {d} columns, {CLASSES} classes")
        print("| validator | isthmus, s | skada, s | ratio |\n|---|---|---|---|")
        for name, scorer in theirs.items():
            if names and name not in names:
                continue
            own, other = [], []
            timed(VALIDATORS[name](), e)  # imports
            for _ in range(TURNS):
                own.append(timed(VALIDATORS[name](), e)[1])
                began = time.perf_counter()
                scorer()
                other.append(time.perf_counter() - began)
            a, b = statistics.median(own), statistics.median(other)
            print(f"| {name} | {a:.4f} | {b:.3f} | {b / a:.0f} |", flush=True)
        if names:
            return
        same = Evidence(adapted=borrowed, target=e.target)
        for name, factor in (("snd", 1.0), ("entropy", -1.0 / CLASSES)):
            ours = timed(VALIDATORS[name](), same)[0] * factor
            print(f"{name} of skada's model: {ours:.7f} by ours, {theirs[name]():.7f} by skada's")


def alone(name: str, n: int, d: int) -> None:
    """Print seconds, and megabytes at the peak: above data, model and imports, and in all."""
    small = evidence_of(1_000, d)
    timed(VALIDATORS[name](), small)  # imports
    e = evidence_of(n, d, small.adapted)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak so far is forgotten
    before = peak_mb()
    _, seconds = timed(VALIDATORS[name](), e)
    print(json.dumps([seconds, peak_mb() - before, peak_mb()]))


def peak_mb() -> float:
    line = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert line is not None
    return int(line[1]) / 1024


def main() -> None:
    if sys.argv[1:2] == ["--alone"]:
        return alone(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    n, d, *names = [*sys.argv[1:], *("3000", "64")[len(sys.argv) - 1 :]]
    beside(int(n), int(d), names)
    if not names:
        large(100_000, 64)


def large(n: int, d: int) -> None:
    print(f"\nn = {n} of each domain, {d} columns, {CLASSES} classes")
    print("| validator | s | MB added | MB in all |\n|---|---|---|---|")
    for name in VALIDATORS:
        command = [sys.executable, __file__, "--alone", name, str(n), str(d)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds, added, peak = json.loads(out)
        print(f"| {name} | {seconds:.2f} | {added:.0f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
