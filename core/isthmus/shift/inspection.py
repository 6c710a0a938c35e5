"""One inspection: draw rows, bring them to common coordinates, ask every question once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import rows
from isthmus.domain import Task
from isthmus.shift.advice import advise
from isthmus.shift.axes import Coordinates, coordinates, plane
from isthmus.shift.columns import columns
from isthmus.shift.concept import Concept, concept_shift
from isthmus.shift.correspondence import correspondence
from isthmus.shift.coverage import Ratio, coverage, density_ratio, effective_size
from isthmus.shift.distances import distances, mmd2
from isthmus.shift.drawing import FEWEST, Drawn, draw
from isthmus.shift.findings import Nearness, Rows, Shift
from isthmus.shift.priors import Priors, estimate_priors
from isthmus.shift.probe import Probe, probe
from isthmus.shift.two_sample import median_distance, tell_apart, two_sample
from isthmus.strategy import Run

if TYPE_CHECKING:
    from isthmus.learners.architectures import Architecture

LEVEL = 0.05
POINTS = 1_000  # of each domain, drawn on the page
NEAR_ROWS = 1_000  # of each source


def inspect_shift(task: Task, run: Run = Run(), *, network: Architecture | None = None) -> Shift:
    """Say what kind of shift lies between the sources, pooled, and the target.

    Reads a bounded number of rows of tables, small images, series and graphs; ``network`` gives
    features of larger images. The result depends on the rows and the seed, not on their order.
    Raises UnsupportedTask or BadInput where a domain cannot be compared.
    """
    rng = run.rng()
    steps = 7
    run.progress("inspect", 0, steps)
    drawn = draw(task, run, network)
    z = coordinates(drawn, rng)
    run.progress("inspect", 1, steps)
    domains, score = tell_apart(z.source, z.target, rng)
    run.progress("inspect", 2, steps)
    measured = distances(z.source, z.target, rng)
    run.progress("inspect", 3, steps)
    carriers = columns(*_with_extra(drawn))
    run.progress("inspect", 4, steps)
    ratio = density_ratio(score, len(z.source))
    covered = coverage(z.source, z.target, ratio, rng)
    run.progress("inspect", 5, steps)
    n_classes = len(task.schema.classes)
    model = probe(z.source, drawn.y, z.target, z.support, n_classes, rng)
    priors = estimate_priors(model, drawn.y, z.source, z.target, rng) if n_classes else None
    concept = _concept(drawn, model, priors, ratio)
    # Bonferroni: any of these tests may be the one that sees the shift.
    signs = [domains.p, carriers.least_q, *([priors.p] if priors is not None else [])]
    p = min(1.0, len(signs) * min(signs))
    by_classes = priors is not None and priors.verdict == "label shift"
    covariate = "explained by class shares" if by_classes else "shown"
    run.progress("inspect", 6, steps)
    same = correspondence(drawn.source, drawn.y, drawn.target, run.rng())
    run.progress("inspect", steps, steps)
    n, m = len(z.source), len(z.target)
    some = [rng.permutation(k)[:POINTS] for k in (n, m)]
    points, points_kept = plane(z.source, z.target)
    return Shift(
        source="+".join(d.name for d in task.sources),
        target=task.target.name,
        kind=task.schema.kind,
        classes=task.schema.classes,
        source_rows=Rows(n, drawn.total[0]),
        target_rows=Rows(m, drawn.total[1]),
        read_as=drawn.read_as,
        coordinates=z.source.shape[1],
        kept=z.kept,
        seed=run.seed,
        shown=p < LEVEL,
        p=p,
        domains=domains,
        distances=measured,
        sources=_nearness(task, drawn, z, rng),
        priors=priors,
        concept=concept,
        columns=carriers,
        correspondence=same,
        coverage=covered,
        covariate=covariate if p < LEVEL else "none shown",
        advice=advise(
            kind=task.schema.kind,
            shown=p < LEVEL,
            domains=domains,
            correspondence=same,
            coverage=covered,
            priors=priors,
            concept=concept,
            support=0 if task.support is None else len(task.support),
        ),
        notes=_notes(task, drawn, z),
        scatter=(points[:n][some[0]], points[n:][some[1]]),
        scatter_kept=points_kept * z.kept,
    )


def _with_extra(drawn: Drawn) -> tuple[Any, Any, tuple[str, ...]]:
    if drawn.extra is None:
        return drawn.source, drawn.target, drawn.names
    names, of_source, of_target, _ = drawn.extra
    parts: list[Any] = []
    for x, more in ((drawn.source, of_source), (drawn.target, of_target)):
        if rows.is_sparse(x):
            from scipy import sparse

            parts.append(sparse.hstack([x, more], format="csr"))
        else:
            parts.append(np.hstack([x, more]))
    return parts[0], parts[1], (*drawn.names, *names)


def _concept(drawn: Drawn, model: Probe, priors: Priors | None, ratio: Ratio) -> Concept | None:
    if drawn.y_support is None or model.support is None:
        return None
    weight, effective, by = ratio.source, ratio.effective, "importance"
    if priors is not None and priors.verdict == "label shift":
        share, wanted = np.array(priors.source), np.array(priors.target)
        each = np.divide(wanted, share, out=np.zeros_like(wanted), where=share > 0)
        weight, by = each[drawn.y], "class shares"
        effective = effective_size(weight)
    return concept_shift(
        model.source, drawn.y, model.support, drawn.y_support, weight, effective, by
    )


def _nearness(
    task: Task, drawn: Drawn, z: Coordinates, rng: np.random.Generator
) -> tuple[Nearness, ...]:
    """Return one line per source, the nearest first; nothing for a single one."""
    if len(task.sources) < 2:
        return ()
    bandwidth = median_distance(np.concatenate([z.source, z.target]), rng)
    some = z.target[rng.permutation(len(z.target))[:NEAR_ROWS]]
    out = []
    for i, d in enumerate(task.sources):
        own = np.flatnonzero(drawn.origin == i)
        own = np.sort(rng.permutation(own)[:NEAR_ROWS])
        if len(own) < FEWEST:
            out.append(Nearness(d.name, len(own), None, None))
            continue
        mmd = math.sqrt(max(mmd2(z.source[own], some, bandwidth), 0.0))
        apart = two_sample(z.source[own], some, rng, permutations=0).a_distance
        out.append(Nearness(d.name, len(own), mmd, apart))
    return tuple(sorted(out, key=lambda s: math.inf if s.mmd is None else s.mmd))


def _notes(task: Task, drawn: Drawn, z: Coordinates) -> tuple[str, ...]:
    out = []
    n, m = len(z.source), len(z.target)
    if (n, m) != drawn.total:
        out.append(
            f"{n:,} of {drawn.total[0]:,} source rows and {m:,} of {drawn.total[1]:,} target rows "
            "were drawn"
        )
    if z.kept < 1:
        out.append(
            f"tests of all columns together read {z.source.shape[1]} principal axes, which keep "
            f"{z.kept:.0%} of the variance"
        )
    if drawn.shared:
        out.append(
            f"{drawn.shared:,} target rows are also source rows; tests take rows to be "
            "independent, so shared ones hide a shift"
        )
    if task.schema.kind == "graph":
        out.append("nodes of one graph are not independent: p-values are a rough guide")
    if min(n, m) < 50:
        out.append(f"with {min(n, m)} rows of one domain, only a large shift can be shown")
    return tuple(out)
