"""The artefact every built-in strategy returns: a torch module that can be written down.

On disk it is ``weights.safetensors`` and ``adapted.json``; no pickle, nothing is executed but the
constructor of a class from isthmus or an installed plugin.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from isthmus import rows, settings
from isthmus.domain import Predictions, Schema
from isthmus.errors import BadInput
from isthmus.graph import Graph
from isthmus.strategy import Adapted

if TYPE_CHECKING:
    from isthmus.deploy.export import OnnxGraph

FORMAT = 1
KNOWN_FILES = {"adapted.json", "weights.safetensors", "log.jsonl", "checkpoint"}
_VALUES_PER_CHUNK = 2**23  # bounds the memory of one forward pass


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

    def preprocessing(self) -> dict[str, Any]:
        """Say what the module does to its input before it learns from it."""
        return {}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TorchAdapted(Adapted):
    """Predicts on the device its weights are on."""

    part: Part
    schema: Schema
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.part.eval()

    @property
    def device(self) -> torch.device:
        tensors = [*self.part.parameters(), *self.part.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def predict(self, x: Any) -> Predictions:
        with torch.inference_mode():
            if isinstance(x, Graph):
                out = self.part(
                    torch.from_numpy(rows.dense(x.features)).to(self.device),
                    torch.from_numpy(x.edges()).to(self.device),
                )
                return np.asarray(out.float().cpu().numpy())
            n, size = rows.count(x), max(1, _VALUES_PER_CHUNK // max(1, math.prod(x.shape[1:])))
            parts = [self._chunk(x[part]) for part in rows.chunks(n, min(size, 4096))]
        return np.concatenate(parts)

    def _chunk(self, x: Any) -> Predictions:
        x = rows.dense(x) if self.schema.kind == "table" else np.ascontiguousarray(x)
        out = self.part(torch.from_numpy(x).to(self.device))
        return np.asarray(out.float().cpu().numpy())

    def onnx(self) -> OnnxGraph:
        from isthmus.deploy.export import OnnxGraph

        inputs, dynamic = self.part.example()
        return OnnxGraph(
            module=self.part,
            inputs=inputs,
            dynamic=dynamic,
            outputs=("values",) if self.schema.is_regression else ("probabilities",),
            preprocessing=self.part.preprocessing(),
        )

    def save(self, folder: Path, record: Mapping[str, Any] | None = None) -> None:
        """Write ``weights.safetensors`` and ``adapted.json``, each atomically."""
        from safetensors.torch import save

        state = {k: v.detach().cpu().clone().contiguous() for k, v in self.part.state_dict().items()}
        weights = save(state)
        body = {
            "format": FORMAT,
            "part": settings.reference(type(self.part)),
            "settings": self.part.settings(),
            "schema": dataclasses.asdict(self.schema),
            "diagnostics": dict(self.diagnostics),
            "record": dict(record or {}),
            "weights": hashlib.sha256(weights).hexdigest(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "weights.safetensors", weights)
        text = json.dumps({**body, "sha256": _digest(body)}, indent=1, allow_nan=False)
        write_atomically(folder / "adapted.json", text.encode())


def load(folder: Path, device: str = "cpu") -> tuple[TorchAdapted, dict[str, Any]]:
    """Read an artefact and the record of how it was made; refuse anything edited or unknown."""
    from safetensors import SafetensorError
    from safetensors.torch import load as read

    if not (folder / "adapted.json").is_file():
        raise BadInput(f"{folder} holds no adapted model", hint="isthmus adapt ... --out DIR")
    if unknown := sorted({p.name for p in folder.iterdir()} - KNOWN_FILES):
        raise BadInput(f"{folder} holds {unknown[0]!r}, which an adapted model does not have")
    try:
        body = json.loads((folder / "adapted.json").read_bytes())
        digest = body.pop("sha256")
        if body["format"] != FORMAT:
            raise BadInput(f"{folder}: format {body['format']}, this version reads {FORMAT}")
        if digest != _digest(body):
            raise BadInput(f"{folder / 'adapted.json'} was edited: its checksum does not match")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{folder / 'adapted.json'} is truncated or not ours ({error})") from error
    path = folder / "weights.safetensors"
    weights = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(weights).hexdigest() != body["weights"]:
        raise BadInput(f"{path} is truncated, edited or missing: its checksum does not match")
    with torch.random.fork_rng(devices=[]):  # constructors draw weights that are replaced here
        part = settings.resolve(body["part"], Part).build(body["settings"])
    try:
        part.load_state_dict(read(weights))
    except (SafetensorError, RuntimeError) as error:
        raise BadInput(f"{path} does not fit the model that adapted.json describes") from error
    s = body["schema"]
    schema = Schema(kind=s["kind"], **{k: tuple(s[k]) for k in ("shape", "classes", "outputs")})
    adapted = TorchAdapted(
        part=part.to(device), schema=schema, diagnostics=body["diagnostics"]
    )
    return adapted, body["record"]


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside the file, then rename: a killed process leaves the old file or the new."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BadInput(f"cannot write {path}: {error.strerror}") from error


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
