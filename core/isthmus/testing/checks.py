"""The contract, one function per clause. Each takes a Case and raises AssertionError.

One fault should break one clause. Where a fault would show in two of them, the clause that does
not own it looks away, and says so. The file is long because the contract is best read in one go.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isthmus import rows
from isthmus.artefact import TorchAdapted, load
from isthmus.domain import Labelled, Predictions, Task
from isthmus.errors import IsthmusError, NotExportable, UnsupportedTask
from isthmus.graph import Graph
from isthmus.learners.neural import Neural
from isthmus.learners.weighting import Reweighting
from isthmus.settings import describe
from isthmus.strategy import Run
from isthmus.testing.case import Case, quality
from isthmus.testing.domains import with_x

EASY = 0.8  # accuracy or R2 on the easy task
NOISE = 0.05  # of that figure, on the held-out rows
SAME = 1e-3  # probabilities (or share of a standard deviation) that summation order may move

Check = Callable[[Case], None]


def check_is_frozen_dataclass(case: Case) -> None:
    cls = type(case.strategy)
    assert dataclasses.is_dataclass(cls), f"{cls.__name__} is not a dataclass"
    assert cls.__dataclass_params__.frozen, f"{cls.__name__} is not frozen"
    own = {k for k, v in inspect.get_annotations(cls).items() if "ClassVar" not in str(v)}
    lost = sorted(own - set(cls.__dataclass_fields__))
    assert not lost, f"{cls.__name__}.{lost[0]} is no setting: {cls.__name__} lacks @dataclass"
    keywords = [p.kind is p.KEYWORD_ONLY for p in inspect.signature(cls).parameters.values()]
    assert all(keywords), f"{cls.__name__} takes positional parameters; use kw_only=True"


def check_parameters_are_recordable(case: Case) -> None:
    """A benchmark row must be able to say exactly what ran."""
    json.dumps(describe(case.strategy), allow_nan=False)
    assert pickle.loads(pickle.dumps(case.strategy)) == case.strategy


def check_refuses_other_kinds(case: Case) -> None:
    task, _ = case.made
    schema = dataclasses.replace(task.schema, kind="no-such-kind")
    alien = Task(
        target=dataclasses.replace(task.target, schema=schema),
        sources=tuple(dataclasses.replace(s, schema=schema) for s in task.sources),
    )
    try:
        case.strategy.adapt(alien)
    except UnsupportedTask as error:
        assert case.strategy.name in str(error), "the message must name the strategy"
    else:
        raise AssertionError("took a domain kind it does not declare")


def check_predictions_are_well_formed(case: Case) -> None:
    p, heldout = case.first.predictions, case.first.heldout
    wanted = (len(heldout), heldout.schema.width)
    assert isinstance(p, np.ndarray), f"predict returned {type(p).__name__}, expected ndarray"
    assert p.dtype == np.float32, f"predict returned {p.dtype}, expected float32"
    assert p.shape == wanted, f"predict returned shape {p.shape}, expected {wanted}"
    assert np.isfinite(p).all(), "predictions must be finite"
    if not heldout.schema.is_regression:
        assert (p >= 0).all(), "probabilities must be >= 0"
        assert np.allclose(p.sum(1), 1, atol=1e-4), "rows must sum to 1"


def check_leaves_inputs_alone(case: Case) -> None:
    assert not case.first.inputs_moved, "a domain was changed"


def check_leaves_global_randomness_alone(case: Case) -> None:
    # The second time: a library imported during the first may draw a number, once.
    assert not case.second.randomness_moved, (
        "global random state moved; use a local generator or fork_rng"
    )


def check_same_seed_same_result(case: Case) -> None:
    gap = _noise(case)
    assert gap < 1e-5, f"same seed, other global random state: predictions differ by {gap:.2e}"


def check_artefacts_share_nothing(case: Case) -> None:
    """A later adapt, to other data, must change neither the strategy nor an earlier artefact."""
    first = case.first
    assert not first.strategy_moved, "adapt changed the strategy; it must keep no state"
    before = first.adapted.predict(first.heldout.x)
    case.adapt_briefly(case.other)
    gap = _gap(first.adapted.predict(first.heldout.x), before, case)
    assert gap < 1e-6, f"after another adapt the first artefact predicts differently, by {gap:.2e}"


def check_takes_what_it_declares(case: Case) -> None:
    """``needs`` may promise more than one form of task: two sources, or none."""
    for form, task in case.forms():
        try:
            adapted = case.adapt(task)
        except Exception as error:
            raise AssertionError(
                f"needs promise to take {form}, but adapt raised {_shown(error)}"
            ) from error
        score = quality(adapted.predict(case.first.heldout.x), case.first.heldout)
        assert score >= min(EASY, case.score), f"scores {score:.2f} given {form}"


def check_ignores_the_target(case: Case) -> None:
    """``needs`` may promise not to look at the target: any other gives the same model."""
    task, other = case.made[0], case.other.target
    p = case.adapt_briefly(dataclasses.replace(task, target=other)).predict(case.first.heldout.x)
    gap = _gap(p, case.short.predictions, case)
    # What moves with the same target is the fault of the seed's clause.
    assert gap <= 1e-6 + 10 * _noise(case), f"another target moves the predictions by {gap:.2e}"


def check_rows_are_independent(case: Case) -> None:
    """Catches a network left in train mode: batch norm and dropout make rows interact."""
    adapted, x = case.first.adapted, case.first.heldout.x
    try:
        one = adapted.predict(x[3:4])
    except Exception as error:
        raise AssertionError(
            f"predict cannot take a single row: {_shown(error)}; is the model in eval mode?"
        ) from error
    gap = _gap(one, adapted.predict(x)[3:4], case)
    assert gap < 1e-4, (
        f"row 3 alone and row 3 in a batch differ by {gap:.2e}; is the model in eval mode?"
    )


def check_row_order_does_not_matter(case: Case) -> None:
    """Shuffled sources, support and target must give the same artefact, and the same weights."""
    task, heldout = case.made
    rng = np.random.default_rng(1)

    def shuffled(domain: Any) -> Any:
        return domain.take(rng.permutation(len(domain)))

    adapted = case.adapt_briefly(
        dataclasses.replace(
            task,
            sources=tuple(shuffled(s) for s in task.sources),
            target=shuffled(task.target),
            support=None if task.support is None else shuffled(task.support),
        )
    )
    gap = _gap(adapted.predict(heldout.x), case.short.predictions, case)
    # What moves without a shuffle is the fault of the seed's clause.
    assert gap < SAME + 10 * _noise(case), f"shuffled rows move the predictions by {gap:.2e}"
    if isinstance(case.strategy, Reweighting):
        x, x_t = task.source.x, task.target.x
        order = rng.permutation(rows.count(x))
        w = case.strategy.weigh(x, x_t, Run().rng())
        gap = np.abs(case.strategy.weigh(x[order], x_t, Run().rng()) - w[order]).max()
        assert gap <= SAME * max(w.max(), 1), "weights do not follow their rows when these move"


def check_solves_the_easy_task(case: Case) -> None:
    assert case.score >= EASY, (
        f"scores {case.score:.2f} on the easy task, expected at least {EASY:.2f}"
    )


def check_is_no_worse_than_source_only(case: Case) -> None:
    if case.score < EASY:
        return  # worse than this clause is about: the easy task's
    assert case.score >= case.source_only - NOISE, (
        f"scores {case.score:.3f} on the easy task, where source-only scores {case.source_only:.3f}"
    )


def check_adaptation_has_a_gradient(case: Case) -> None:
    """Every loss but "task" must move the encoder at some point of the training."""
    dead = [k for k, g in case.first.gradients.items() if k != "task" and g == 0]
    assert not dead, f"the loss {dead[0]!r} never had a gradient in the encoder"


def check_refuses_or_survives_one_class(case: Case) -> None:
    """The source, or the support, holds one class only."""

    def one(d: Labelled) -> Labelled:
        return d.take(np.flatnonzero(d.y == d.y[0]))

    _refuses_or_predicts(case, lambda t: {"sources": tuple(one(s) for s in t.sources)})
    _refuses_or_predicts(case, lambda t: {"support": t.support and one(t.support)})


def check_survives_missing_classes(case: Case) -> None:
    """The target lacks a class that the source has."""
    task, heldout = case.made
    likely = np.asarray(case.first.predictions).argmax(1)
    kept = np.flatnonzero(likely != likely.max())
    target = dataclasses.replace(task.target, x=heldout.unlabelled().take(kept).x)
    _refuses_or_predicts(case, lambda t: {"target": target})


def check_survives_a_constant_column(case: Case) -> None:
    def flat(x: Any) -> Any:
        x = x.copy()
        x[:, 0] = 1
        return x

    _refuses_or_predicts(
        case,
        lambda t: {
            "sources": tuple(with_x(s, flat) for s in t.sources),
            "target": with_x(t.target, flat),
            "support": t.support and with_x(t.support, flat),
        },
    )


def check_refuses_or_survives_nan(case: Case) -> None:
    def hole(x: Any) -> Any:
        x = x.copy()
        x[len(x) // 2, 0] = np.nan
        return x

    _refuses_or_predicts(case, lambda t: {"target": with_x(t.target, hole)})
    _refuses_or_predicts(case, lambda t: {"sources": tuple(with_x(s, hole) for s in t.sources)})
    _refuses_or_predicts(case, lambda t: {"support": t.support and with_x(t.support, hole)})


def check_survives_half_precision(case: Case) -> None:
    """A training in bf16, of strategies whose losses were seen."""
    if case.first.gradients:
        _refuses_or_predicts(case, lambda t: {"target": t.target}, Run(precision="bf16"))


def check_logs_finite_numbers(case: Case) -> None:
    steps = [step for step, _ in case.first.logged]
    assert steps == sorted(steps), "log steps must not go back"
    assert all(np.isfinite(list(v.values())).all() for _, v in case.first.logged), (
        "a logged value is not finite"
    )


def check_survives_saving(case: Case) -> None:
    """What is loaded predicts what was saved, or saving is refused with a reason."""
    first = case.first
    with tempfile.TemporaryDirectory() as folder:
        try:
            first.adapted.save(Path(folder) / "adapted")
        except NotExportable as error:
            assert len(str(error)) > 10, "NotExportable must say why"
            return
        if isinstance(first.adapted, TorchAdapted):
            again, _ = load(Path(folder) / "adapted")
            x = first.heldout.x
            gap = _gap(again.predict(x), first.adapted.predict(x), case)
            assert gap < 1e-6, f"the loaded artefact predicts differently, by {gap:.2e}"


def check_onnx_matches(case: Case) -> None:
    from isthmus.deploy.export import export

    try:
        graph = case.first.adapted.onnx()
    except NotExportable as error:
        assert len(str(error)) > 10, "NotExportable must say why"
        return
    x = case.first.heldout.x
    args = (x.features, x.edges()) if isinstance(x, Graph) else (x,)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(graph, path)
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        got = session.run(None, dict(zip(graph.inputs, args, strict=True)))[0]
        expected = case.first.adapted.predict(x)
        close = np.allclose(got, expected, atol=graph.atol + graph.leap, rtol=graph.rtol)
        gap = np.abs(got - expected).max()
        assert close, f"onnxruntime differs from predict() by {gap:.2e} on the held-out rows"


def check_weights_are_valid(case: Case) -> None:
    """Reweighting: one per row, finite, not negative, and within the bound."""
    strategy, (task, _) = case.strategy, case.made
    assert isinstance(strategy, Reweighting)
    x_s, x_t = task.source.x, task.target.x
    w = strategy.weigh(x_s, x_t, Run().rng())
    n = rows.count(x_s)
    assert w.shape == (n,), f"weights have shape {w.shape}, expected {(n,)}"
    assert np.isfinite(w).all() and (w >= 0).all(), "weights must be finite and >= 0"
    bound = float(np.median(w)) or 1.0
    cut = dataclasses.replace(strategy, bound=bound).weigh(x_s, x_t, Run().rng())
    assert cut.max() <= bound * (1 + 1e-6), f"weight {cut.max():.3g} exceeds bound {bound:.3g}"


def check_weights_favour_the_target(case: Case) -> None:
    """Reweighting: source rows where the target is count more than those where it is not."""
    strategy, (task, _) = case.strategy, case.made
    assert isinstance(strategy, Reweighting)
    x = rows.dense(task.source.x)
    widest = x[:, x.std(0).argmax()]
    inside = widest > np.median(widest)
    w = strategy.weigh(x, x[inside], Run().rng())
    near, far = w[inside].mean(), w[~inside].mean()
    assert near > far, f"rows where the target is weigh {near:.3g} on average, the others {far:.3g}"


def check_gpu_equals_cpu(case: Case) -> None:
    """Training amplifies rounding, so labels are compared, not probabilities."""
    gpu, cpu = case.trace("cuda").predictions, case.first.predictions
    if case.first.heldout.schema.is_regression:
        assert _gap(gpu, cpu, case) < 0.1, "GPU and CPU predict different values"
    else:
        same = float((gpu.argmax(1) == cpu.argmax(1)).mean())
        assert same >= 1 - NOISE, f"GPU and CPU agree on {same:.1%} of the labels only"


def checks_for(case: Case) -> Iterator[Check]:
    """Yield the clauses that apply to a case."""
    yield from EVERY
    schema, needs = case.make(0)[0].schema, case.strategy.needs
    if schema.kind in Neural.kinds:  # where there is a source-only model to compare with
        yield check_is_no_worse_than_source_only
    if not schema.is_regression:
        if needs.sources != "none" or needs.support:
            yield check_refuses_or_survives_one_class
        yield check_survives_missing_classes
    if needs.target == "unused":
        yield check_ignores_the_target
    if schema.kind in ("table", "image", "series"):
        yield check_rows_are_independent
    if schema.kind in ("table", "series", "graph"):
        yield check_refuses_or_survives_nan
    if schema.kind in ("table", "image", "series", "graph"):
        yield check_survives_a_constant_column
    if schema.kind == "table" and isinstance(case.strategy, Reweighting):
        yield check_weights_are_valid
        yield check_weights_favour_the_target
    if torch.cuda.is_available():
        yield check_gpu_equals_cpu


EVERY: tuple[Check, ...] = (
    check_is_frozen_dataclass,
    check_parameters_are_recordable,
    check_refuses_other_kinds,
    check_predictions_are_well_formed,
    check_leaves_inputs_alone,
    check_leaves_global_randomness_alone,
    check_same_seed_same_result,
    check_artefacts_share_nothing,
    check_row_order_does_not_matter,
    check_takes_what_it_declares,
    check_solves_the_easy_task,
    check_adaptation_has_a_gradient,
    check_survives_half_precision,
    check_logs_finite_numbers,
    check_survives_saving,
    check_onnx_matches,
)


def _gap(a: Predictions, b: Predictions, case: Case) -> float:
    """Return the largest difference, in units of the labels' deviation for regression.

    NaN in the same place is no difference: that predictions are finite has its own clause.
    """
    a, b, heldout = np.asarray(a), np.asarray(b), case.made[1]
    if a.shape != b.shape:
        return float("inf")
    unit = heldout.y.std(0) if heldout.schema.is_regression else 1.0
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b) / unit
    return float(np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, gap).max(initial=0.0))


def _noise(case: Case) -> float:
    """Return by how much two adaptations to the same task with the same seed differ."""
    return _gap(case.second.predictions, case.short.predictions, case)


def _refuses_or_predicts(
    case: Case, change: Callable[[Task], dict[str, Any]], run: Run = Run()
) -> None:
    task, heldout = case.made
    changes = {k: v for k, v in change(task).items() if v}  # what the task does not have
    if not changes:
        return
    try:
        adapted = case.adapt_briefly(dataclasses.replace(task, **changes), run)
        p = np.asarray(adapted.predict(heldout.x))
    except IsthmusError as error:
        assert len(str(error)) > 10, f"a refusal must say why, got {error!s}"
        unforeseen = isinstance(error.__cause__, np.linalg.LinAlgError)
        assert not unforeseen, f"refused by {_shown(error)}: survive it, or say first why not"
        return
    except Exception as error:
        raise AssertionError(
            f"crashed with {_shown(error)}; survive it, or raise UnsupportedTask and say why"
        ) from error
    # Predictions that are never finite break their own clause.
    usual = np.isfinite(np.asarray(case.first.predictions)).all()
    assert np.isfinite(p).all() or not usual, "neither refused the task nor predicts finite numbers"


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
