"""How to adapt: the one interface that every plugin implements."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from isthmus import rows, settings
from isthmus.domain import UNKNOWN
from isthmus.errors import BadInput, NotExportable, RunFailed, UnsupportedTask

LARGEST = float(np.finfo(np.float32).max)  # rows are read in float32

if TYPE_CHECKING:
    from isthmus.deploy.export import OnnxGraph
    from isthmus.domain import Domain, Predictions, Schema, Task


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a strategy asks of a task. Declared, so that CLI, comparison and checks agree."""

    kinds: frozenset[str]
    sources: Literal["one", "any", "several", "optional", "none"] = "one"
    target: Literal["used", "unused"] = "used"  # unused: its rows are not looked at
    support: bool = False  # labelled target instances
    start: Literal["unused", "required", "or-sources"] = "unused"  # a model to begin from
    outputs: frozenset[str] = frozenset({"classes", "values"})  # classification, regression
    unknown: bool = False  # a class "unknown" that the target has and no source

    def refusal(self, task: Task) -> str | None:
        """Say why the task cannot be taken, or None when it can."""
        if task.schema.kind not in self.kinds:
            return f"reads {sorted(self.kinds)} domains, got a {task.schema.kind!r} domain"
        if not task.schema.width:
            return "needs to know the classes or outputs; no labelled domain names them"
        if ("values" if task.schema.is_regression else "classes") not in self.outputs:
            return f"predicts {sorted(self.outputs)}, got {_output(task.schema)}"
        if self.sources in ("one", "any", "several") and not task.sources:
            return "needs a source domain"
        if self.sources == "several" and len(task.sources) == 1:
            return "needs two source domains or more, got one"
        if self.sources == "one" and len(task.sources) > 1:
            return f"takes one source domain, got {len(task.sources)}"
        if self.unknown and UNKNOWN not in task.schema.classes:
            return f"needs a class {UNKNOWN!r} beside those of the sources (match(unknown=True))"
        if self.support and task.support is None:
            return "needs labelled target instances (task.support)"
        if self.start == "required" and task.start is None:
            return "needs a model to start from (task.start)"
        if self.start == "or-sources" and task.start is None and not task.sources:
            return "needs a model to start from (task.start) or a source domain"
        return _unusable(task)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how one adaptation runs. Carries no hyper-parameter.

    ``log(step, values)`` gets numbers, ``say(sentence)`` gets what a person should know,
    ``progress(stage, done, total)`` moves a bar, ``watch(network, step)`` sees each training
    step before its gradient (tests only: it is called once per step).
    """

    seed: int = 0
    device: str = "cpu"  # "cpu" | "cuda" | "cuda:1"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False  # networks, by torch.compile while they are trained
    budget: float | None = None  # seconds of training in all, then stop where it stands
    deadline: float = math.inf  # on time.monotonic(); ``Strategy.adapt`` sets it from the budget
    checkpoint: Path | None = None  # a folder; long training resumes from it
    checkpoint_every: float = 30.0  # seconds
    key: str = ""  # what identifies this adaptation: a checkpoint of another one is refused
    log: Callable[[int, Mapping[str, float]], None] = field(default=lambda step, values: None)
    say: Callable[[str], None] = field(default=lambda sentence: None)
    progress: Callable[[str, int, int], None] = field(default=lambda stage, done, total: None)
    watch: Callable[[Any, Any], None] | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BadInput(f"seed={self.seed}, expected a whole number from 0")
        if self.budget is not None and not 0 <= self.budget < math.inf:
            raise BadInput(f"budget={self.budget}, expected seconds from 0")

    def ends(self, began: float) -> float:
        """Return when a training that began then, on time.monotonic(), has to end."""
        return min(self.deadline, math.inf if self.budget is None else began + self.budget)

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def silent(self, **changes: Any) -> Run:
        """Return the same run with ``changes``, which tells nobody what it does."""
        deaf = Run()
        ears = {"log": deaf.log, "say": deaf.say, "progress": deaf.progress, "watch": None}
        return replace(self, **{**ears, **changes})


class Adapted(ABC):
    """The artefact: it predicts, and perhaps exports. It never learns."""

    diagnostics: Mapping[str, Any] = {}  # JSON values: what a user needs to trust the result

    @abstractmethod
    def predict(self, x: Any) -> Predictions:
        """Return float32 (n, classes) probabilities, or (n, outputs) values in regression."""

    def observe(self, x: Any) -> tuple[NDArray[np.float32], Predictions]:
        """Return features (n, d) and predictions, from one pass.

        Features are what the last layer reads. A model that shows none shows its predictions.
        """
        p = self.predict(x)
        return p, p

    def for_source(self) -> Adapted:
        """Return the same model as it reads source instances.

        It is another one where the source is mapped in its own way. Only validators ask for it.
        """
        return self

    def onnx(self) -> OnnxGraph:
        raise NotExportable(f"{type(self).__name__} does not implement onnx()")

    def save(self, folder: Path, record: Mapping[str, Any] | None = None) -> None:
        """Write weights and JSON; ``record`` says how it was made. See artefact.load."""
        raise NotExportable(f"{type(self).__name__} does not implement save()")


class Strategy(ABC):
    """A frozen recipe: a dataclass of hyper-parameters with one verb.

    Subclasses are final. ``adapt`` leaves ``self`` as it was, so one instance may serve
    many tasks and seeds; there is no clone(), no fitted state, no trailing underscore.
    """

    name: ClassVar[str]
    family: ClassVar[str]  # "baseline" | "reweighting" | "alignment" | ... | a plugin's own
    needs: ClassVar[Needs]
    oracle: ClassVar[bool] = False  # True: reads target labels that would not exist

    @abstractmethod
    def _adapt(self, task: Task, run: Run) -> Adapted:
        """Learn from the task. Called only with a task that ``needs`` allows."""

    @final
    def adapt(self, task: Task, run: Run = Run()) -> Adapted:
        if reason := self.needs.refusal(task):
            raise UnsupportedTask(f"{self.name} {reason}")
        settings.check(self)
        try:
            return self._adapt(task, replace(run, deadline=run.ends(time.monotonic())))
        except np.linalg.LinAlgError as error:
            raise RunFailed(
                f"{self.name} met a matrix that cannot be factored: {error}",
                hint="settings nearer to their defaults, or columns of more alike sizes",
            ) from error


def _output(schema: Schema) -> str:
    return "regression outputs" if schema.is_regression else "classes"


def _unusable(task: Task) -> str | None:
    """Say what in the data no strategy can learn from."""
    given = [*task.sources, *([task.support] if task.support else [])]
    domains: list[Domain] = [*given, task.target]
    for d in domains:
        if not len(d):
            return f"needs instances; {d.name} is empty"
        if hole := _hole(d.x):
            return f"needs finite numbers; {d.name} has {hole}: fill or drop missing values first"
    if task.sources and not task.schema.is_regression:
        present = np.unique(np.concatenate([d.y for d in task.sources]))
        if len(present) < 2:
            only = task.schema.classes[present[0]]
            return f"needs two classes in the source, got only {only!r}"
    return None


def _hole(x: Any) -> str | None:
    """Say where the first NaN or infinity is. Lazy containers are read when they are used."""
    x = getattr(x, "features", x)
    if rows.is_sparse(x):
        return None if np.isfinite(x.data).all() else "NaN or infinity"
    if isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating):
        for part in rows.chunks(len(x), 65536):
            if not (ok := np.abs(x[part]) <= LARGEST).all():
                at = tuple(int(i) for i in np.argwhere(~ok)[0])
                place = ", ".join(map(str, at[1:]))
                what = "a number beyond float32" if np.isfinite(x[part][at]) else "NaN or infinity"
                return f"{what} in row {at[0] + part.start}, column {place} (from 0)"
    return None
