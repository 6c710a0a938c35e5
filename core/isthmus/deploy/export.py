"""One way out: a torch module becomes an ONNX file, and the file is compared with the module."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

import isthmus
from isthmus.deploy.parity import BATCHES, Parity, check_parity, remove
from isthmus.deploy.probes import conform
from isthmus.errors import GateFailed, NotExportable

OPSET = 18  # the oldest the dynamo exporter writes without conversion: the widest support
LARGEST_INLINE = 1_500_000_000  # bytes of weights; protobuf stops at 2 GiB
_CODE = re.compile(r"File: (\S+?):(\d+) in \w+, code: (.*)")


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxGraph:
    """A predictor, example inputs in call order, and which of their axes may vary.

    ``dynamic`` names axes: ``{"x": {0: "n"}}``. Axis 0 of the first input is always "n".
    """

    module: torch.nn.Module  # the predictor alone: critics stay behind
    inputs: dict[str, torch.Tensor]
    dynamic: dict[str, dict[int, str]]
    outputs: tuple[str, ...] = ("probabilities",)  # ("values",) in regression
    atol: float = 1e-4
    rtol: float = 1e-3
    leap: float = 0.0  # how far off one row in ten may be: trees behind a map, which rounds
    preprocessing: dict[str, Any] = field(default_factory=dict)  # JSON: what happens to the input

    def __post_init__(self) -> None:
        for name, axes in self.dynamic.items():
            if name not in self.inputs:
                raise NotExportable(f"axes are named for {name!r}, which is no input of the graph")
            for axis, label in axes.items():
                if not 0 <= axis < self.inputs[name].ndim or not label.isidentifier():
                    raise NotExportable(
                        f"input {name!r} has {self.inputs[name].ndim} axes, got {axis}: {label!r}"
                    )
        first = next(iter(self.inputs), "")
        if self.dynamic.get(first, {}).get(0) != "n":
            raise NotExportable(f"axis 0 of input {first!r} must be named 'n': rows vary in number")


def export(
    graph: OnnxGraph,
    path: Path,
    *,
    sample: Mapping[str, NDArray[Any]] | None = None,
    batches: tuple[int, ...] = BATCHES,
    metadata: Mapping[str, str] | None = None,
) -> Parity:
    """Write ``path`` (opset 18, float32) and pass it through the parity gate.

    ``sample`` holds real rows of each input. ``metadata`` is written into the file. The module is
    copied: the caller's stays on its device and in its mode. Weights above 1.5 GB go to
    ``<name>.data`` beside the file. Raises NotExportable when there is no ONNX form, GateFailed
    when the file and the module disagree; neither leaves a file.
    """
    if sample is not None:
        sample = conform(graph, sample)
    graph = replace(graph, module=on_cpu(graph.module), inputs=_on_cpu(graph.inputs))
    try:
        _write(graph, path)
        _clean(graph, path, metadata or {})
    except BaseException:
        remove(path)
        raise
    return check_parity(graph, path, batches, sample)


def on_cpu(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy on the CPU that predicts and does not learn."""
    try:
        return copy.deepcopy(module).cpu().eval().requires_grad_(False)
    except RuntimeError as error:
        raise NotExportable(f"{type(module).__name__} cannot be copied: {_line(error)}") from error


def _on_cpu(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in inputs.items()}


def _write(graph: OnnxGraph, path: Path) -> None:
    tensors, talk = [*graph.module.parameters(), *graph.module.buffers()], StringIO()
    try:
        with _quiet(talk), torch.no_grad():
            torch.onnx.export(
                graph.module,
                tuple(graph.inputs.values()),
                path,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=tuple(graph.dynamic.get(name) for name in graph.inputs),
                opset_version=OPSET,
                external_data=sum(t.nbytes for t in tensors) > LARGEST_INLINE,
                dynamo=True,
                verbose=False,
            )
    except MemoryError:
        raise
    except Exception as error:  # the exporter raises whatever the traced code raises
        raise NotExportable(
            f"{type(graph.module).__name__} has no ONNX form: {_reason(error, talk.getvalue())}",
            hint="isthmus strategies says which strategies export",
        ) from error


def _clean(graph: OnnxGraph, path: Path, metadata: Mapping[str, str]) -> None:
    """Read the file back: check what was written, and drop traces of the machine that wrote it."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset != OPSET:
        raise NotExportable(f"the exporter wrote opset {opset}, expected {OPSET}")
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for axis, label in graph.dynamic.get(value.name, {}).items():
            if dims[axis].dim_param != label:
                raise NotExportable(
                    f"the exporter froze axis {axis} of {value.name!r} to "
                    f"{dims[axis].dim_value or dims[axis].dim_param!r}, expected it to vary"
                )
    for value in model.graph.output:
        if not (dims := value.type.tensor_type.shape.dim) or not dims[0].dim_param:
            raise NotExportable(f"output {value.name!r} does not grow with the rows of the input")
    _strip(model)
    for key, text in metadata.items():
        model.metadata_props.add(key=key, value=text)
    onnx.save(model, path)
    for tensor in model.graph.initializer:  # weights are noise to the search for paths
        tensor.ClearField("raw_data")
    text = model.SerializeToString()
    for place in (Path.home(), Path.cwd(), Path(isthmus.__file__).resolve().parents[2]):
        if len(place.parts) > 1 and f"{place}/".encode() in text:
            raise GateFailed(f"{path.name} holds the path of a folder on this machine ({place})")


def _strip(message: Any) -> None:
    """Delete metadata and doc strings from a protobuf message and all below it."""
    names = {field.name for field in message.DESCRIPTOR.fields}
    for name in names & {"metadata_props", "doc_string"}:
        message.ClearField(name)
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.name == "external_data":
            continue
        for item in [value] if hasattr(value, "DESCRIPTOR") else value:
            _strip(item)


@contextmanager
def _quiet(talk: StringIO) -> Iterator[None]:
    """Keep the exporter's progress lines, graph dumps and one known warning from the user."""
    with redirect_stdout(talk), redirect_stderr(talk), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
        yield


def _reason(error: BaseException, talk: str) -> str:
    """Return one line: the root of the failure, and the line of code where it is."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    text = _line(root)
    if isinstance(root, ValueError) and "inferred a static shape" in str(root):
        text = "a size that must vary is used as a constant"
    if places := _CODE.findall(f"{error}\n{root}\n{talk}"):
        file, line, code = places[-1]
        text += f" ({Path(file).name}:{line}: {code.strip()})"
    return text


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
