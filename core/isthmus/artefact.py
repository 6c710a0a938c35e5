"""The artefact every built-in strategy returns: a torch module that can be written down.

On disk it is ``weights.safetensors`` and ``adapted.json``; no pickle, nothing is executed but the
constructor of a class from isthmus or an installed plugin.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isthmus import rows, settings
from isthmus.atomic import write_together
from isthmus.domain import Predictions, Schema
from isthmus.errors import BadInput
from isthmus.graph import Graph
from isthmus.sealed import read_sealed, sealed
from isthmus.strategy import Adapted
from isthmus.tensors import as_tensor, device_of

if TYPE_CHECKING:
    from isthmus.deploy.export import OnnxGraph

FORMAT = 1
KNOWN_FILES = {"adapted.json", "weights.safetensors", "log.jsonl", "checkpoint"}
_VALUES_PER_CHUNK = 2**23  # bounds the memory of one forward pass
_VALUES_IN_CACHE = 2**19  # short rows are cheap to compare: as fast as the processor's cache
_LEAST = 64  # rows at once, whatever the cache holds: what a pass does once must not count


class Part(nn.Module):
    """A torch module plus the JSON that rebuilds it. ``forward`` gives predictions.

    Tensors travel in the state dict; whatever else shapes the module is in ``settings``.
    """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return JSON values from which ``build`` makes a module of the same shape."""

    @classmethod
    @abstractmethod
    def build(cls, settings: dict[str, Any]) -> Self:
        """Return an untrained module; the caller loads the state dict into it."""

    @abstractmethod
    def example(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        """Return example inputs in call order, and which axes vary."""

    def observe(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, d), what the last layer reads, and predictions."""
        return inputs[0].flatten(1), self(*inputs)

    def preprocessing(self) -> dict[str, Any]:
        """Say what the module does to its input before it learns from it."""
        return {}

    def leap(self) -> float:
        """Return how far a prediction may leap where the input moves by rounding: trees leap."""
        return 0.0


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TorchAdapted(Adapted):
    """Predicts on the device its weights are on.

    ``source_part`` reads source instances, where they are mapped in another way than the target's;
    it is not saved, and "lost" stands for one that was.
    """

    part: Part
    schema: Schema
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    source_part: Part | Literal["lost"] | None = None

    def __post_init__(self) -> None:
        self.part.eval()

    @property
    def device(self) -> torch.device:
        tensors = [*self.part.parameters(), *self.part.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def predict(self, x: Any) -> Predictions:
        return self._forward(lambda *inputs: (self.part(*inputs),), x)[0]

    def observe(self, x: Any) -> tuple[NDArray[np.float32], Predictions]:
        features, predictions = self._forward(self.part.observe, x)
        return features, predictions

    def for_source(self) -> Adapted:
        if self.source_part == "lost":
            raise BadInput(
                "this model maps source instances in their own way, which is not saved with it",
                hint="a study scores such models before they are saved: isthmus compare",
            )
        if self.source_part is None:
            return self
        return dataclasses.replace(self, part=self.source_part, source_part=None)

    def _forward(self, function: Callable[..., Any], x: Any) -> tuple[NDArray[np.float32], ...]:
        """Return what ``function`` makes of the instances, in chunks that bound the memory."""
        with torch.inference_mode():
            if isinstance(x, Graph):
                return self._pass(function, x.features, x.edges())
            kind, n = self.schema.kind, rows.count(x)
            whole: tuple[NDArray[np.float32], ...] | None = None
            for part in rows.chunks(n, self._chunk(x.shape[1:])):
                outs = self._pass(function, rows.dense(x[part]) if kind == "table" else x[part])
                # Outputs that were kept one by one would break up the memory between them.
                whole = whole or tuple(np.empty((n, *out.shape[1:]), out.dtype) for out in outs)
                for held, out in zip(whole, outs, strict=True):
                    held[part] = out
        assert whole is not None  # there is a chunk, if an empty one
        return whole

    def _pass(self, function: Callable[..., Any], *inputs: Any) -> tuple[NDArray[np.float32], ...]:
        outs = function(*(as_tensor(x).to(self.device) for x in inputs))
        return tuple(np.asarray(out.float().cpu().numpy()) for out in outs)

    def _chunk(self, shape: tuple[int, ...]) -> int:
        """Return how many rows to predict at once."""
        # A row becomes about as many values as the widest tensor has rows: the units of a layer,
        # or the stored rows that it is compared with.
        tensors = [*self.part.parameters(), *self.part.buffers()]
        widest = max([math.prod(shape), 1, *(t.shape[0] for t in tensors if t.ndim)])
        most = _VALUES_PER_CHUNK // widest
        if len(shape) == 1:
            most = min(most, max(_VALUES_IN_CACHE // widest, _LEAST))
        return max(1, min(most, 4096))

    def onnx(self) -> OnnxGraph:
        from isthmus.deploy.export import OnnxGraph

        inputs, dynamic = self.part.example()
        # What leaps reads the same numbers in both, unless something in front computes them.
        behind = [m for m in self.part.modules() if isinstance(m, Part) and m is not self.part]
        return OnnxGraph(
            module=self.part,
            inputs=inputs,
            dynamic=dynamic,
            outputs=("values",) if self.schema.is_regression else ("probabilities",),
            preprocessing=self.part.preprocessing(),
            leap=max((m.leap() for m in behind), default=0.0),
        )

    def save(self, folder: Path, record: Mapping[str, Any] | None = None) -> None:
        """Write ``weights.safetensors`` and ``adapted.json``: both, or neither."""
        from safetensors.torch import save

        state = self.part.state_dict()
        weights = save({k: v.detach().cpu().clone().contiguous() for k, v in state.items()})
        body = {
            "format": FORMAT,
            "part": settings.reference(type(self.part)),
            "settings": self.part.settings(),
            "schema": dataclasses.asdict(self.schema),
            "diagnostics": dict(self.diagnostics),
            "two_sided": self.source_part is not None,
            "record": dict(record or {}),
            "weights": hashlib.sha256(weights).hexdigest(),
        }
        text = sealed(body)
        write_together(
            {folder / "weights.safetensors": weights, folder / "adapted.json": text.encode()}
        )


def load(folder: Path, device: str = "cpu") -> tuple[TorchAdapted, dict[str, Any]]:
    """Read an artefact and the record of how it was made; refuse anything edited or unknown."""
    from safetensors import SafetensorError
    from safetensors.torch import load as read

    where = device_of(device)
    if not (folder / "adapted.json").is_file():
        raise BadInput(f"{folder} holds no adapted model", hint="isthmus adapt ... --out DIR")
    if unknown := foreign(folder):
        raise BadInput(f"{folder} holds {unknown[0]!r}, which an adapted model does not have")
    body = read_sealed(folder / "adapted.json", FORMAT)
    path = folder / "weights.safetensors"
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(weights).hexdigest() != body["weights"]:
        raise BadInput(f"{path} is truncated or edited: its checksum does not match")
    kind: type[Part] = settings.resolve(body["part"], Part)  # type: ignore[type-abstract]
    try:
        with torch.random.fork_rng(devices=[]):  # constructors draw weights that are replaced here
            part = kind.build(body["settings"])
        part.load_state_dict(read(weights))
    except (SafetensorError, RuntimeError, TypeError, KeyError) as error:
        raise BadInput(
            f"{path} does not fit the model that adapted.json describes",
            hint=f"it was written by other versions: {body['record'].get('versions', 'unknown')}",
        ) from error
    adapted = TorchAdapted(
        part=part.to(where),
        schema=schema_from(body["schema"]),
        diagnostics=body["diagnostics"],
        source_part="lost" if body.get("two_sided") else None,
    )
    return adapted, body["record"]


def foreign(folder: Path) -> list[str]:
    """Return the names in a folder that no adapted model has; hidden files are ignored."""
    names = {p.name for p in folder.iterdir() if not p.name.startswith(".")}
    return sorted(names - KNOWN_FILES)


def describe_part(part: Part) -> dict[str, Any]:
    """Return the JSON of a part that is nested in another; ``build_part`` reads it."""
    return {"part": settings.reference(type(part)), **part.settings()}


def build_part(value: Mapping[str, Any]) -> Part:
    """Return the untrained part that ``describe_part`` described."""
    rest = {k: v for k, v in value.items() if k != "part"}
    kind: type[Part] = settings.resolve(value["part"], Part)  # type: ignore[type-abstract]
    return kind.build(rest)


def schema_from(value: Mapping[str, Any]) -> Schema:
    """Rebuild a schema from its JSON form, ``dataclasses.asdict``."""
    names = ("shape", "classes", "outputs", "features")
    return Schema(kind=value["kind"], **{k: tuple(value[k]) for k in names})
