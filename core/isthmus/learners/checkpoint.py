"""Training that survives ``kill -9``: weights, optimiser and random state in one file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from typing import Any

import torch
from torch import Tensor, nn

from isthmus.atomic import write_atomically
from isthmus.errors import BadInput
from isthmus.strategy import Run


class Checkpoint:
    """Saves at intervals into ``run.checkpoint``; loads the last state of the same run.

    The file is written beside and renamed, so a kill leaves the previous one intact.
    """

    def __init__(
        self,
        run: Run,
        stage: str,
        training: Any,
        modules: nn.Module,
        optimiser: torch.optim.Optimizer,
        fabric: Any,
    ) -> None:
        self.path = None if run.checkpoint is None else run.checkpoint / f"{stage}.safetensors"
        self.modules, self.optimiser, self.device = modules, optimiser, fabric.device
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)
        self.every, self.last = run.checkpoint_every, time.monotonic()
        shapes = {k: list(v.shape) for k, v in modules.state_dict().items()}
        how = [run.precision, run.compile]
        same = [stage, run.seed, *how, dataclasses.asdict(training), shapes, run.key]
        self.key = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()

    def load(self) -> int:
        """Restore the last state, if there is one, and return the step to continue with."""
        if self.path is None or not self.path.exists():
            return 0
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as f:
                meta = f.metadata() or {}
                state = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{self.path} is not a checkpoint ({error})") from error
        if meta.get("key") != self.key:
            raise BadInput(
                f"{self.path} was written by other settings, data or seed",
                hint="repeat the command that wrote it, or start over without --resume",
            )
        self.modules.load_state_dict(_under(state, "module."))
        saved: dict[int, dict[str, Tensor]] = {}
        for key, v in _under(state, "optimiser.").items():
            i, _, name = key.partition(".")
            saved.setdefault(int(i), {})[name] = v
        now = self.optimiser.state_dict()
        self.optimiser.load_state_dict({"state": saved, "param_groups": now["param_groups"]})
        torch.set_rng_state(state["random.cpu"])
        if "random.cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random.cuda"], self.device)
        if self.scaler is not None and "scaler" in meta:
            self.scaler.load_state_dict(json.loads(meta["scaler"]))
        return int(meta["step"])

    def maybe_save(self, step: int) -> None:
        if self.path is not None and time.monotonic() - self.last >= self.every:
            self.save(step)

    def save(self, step: int) -> None:
        """Write the state after ``step`` steps."""
        if self.path is None:
            return
        from safetensors.torch import save

        state = {f"module.{k}": v for k, v in self.modules.state_dict().items()}
        for i, entries in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{i}.{k}": v for k, v in entries.items() if v is not None}
        state["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            state["random.cuda"] = torch.cuda.get_rng_state(self.device)
        meta = {"step": str(step), "key": self.key}
        if self.scaler is not None:
            meta["scaler"] = json.dumps(self.scaler.state_dict())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in state.items()}
        write_atomically(self.path, save(tensors, metadata=meta))
        self.last = time.monotonic()


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
