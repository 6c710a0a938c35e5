"""The model card of a bundle: README.md with the YAML head that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TASKS = {
    ("image", False): "image-classification",
    ("table", False): "tabular-classification",
    ("table", True): "tabular-regression",
    ("graph", False): "graph-ml",
    ("graph", True): "graph-ml",
}


def card(manifest: Mapping[str, Any]) -> str:
    """Return the text; ``manifest`` is the body before its checksums are added."""
    made = manifest["record"]
    name = str(made.get("strategy") or "model")
    parts = [
        _head(manifest),
        f"# {name}\n\n{_what(manifest)}",
        f"## Input and output\n\n{_table(manifest)}",
        _preparation(manifest["preprocessing"], manifest["loading"]),
        f"## Run it\n\n```python\n{_code(manifest)}\n```",
        f"## Checks\n\n{_checks(manifest)}",
        f"## How it was made\n\n```json\n{_json(made)}\n```",
    ]
    if manifest["diagnostics"]:
        parts.append(f"## Diagnostics\n\n```json\n{_json(manifest['diagnostics'])}\n```")
    return "\n\n".join(filter(None, parts)) + "\n"


def _head(manifest: Mapping[str, Any]) -> str:
    task = TASKS.get((manifest["kind"], bool(manifest["output_names"])))
    lines = ["library_name: onnx", "tags: [onnx, domain-adaptation, isthmus]"]
    lines += [f"pipeline_tag: {task}"] if task else []
    return "---\n" + "\n".join(lines) + "\n---"


def _what(manifest: Mapping[str, Any]) -> str:
    if names := manifest["output_names"]:
        said = f"Predicts {_few(names)}."
    else:
        said = f"Predicts one of {len(manifest['classes'])} classes: {_few(manifest['classes'])}."
    made = manifest["record"]
    if made.get("sources") and made.get("target"):
        said += f" Adapted from {_text(made['sources'])} to {_text(made['target'])}."
    return said


def _few(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def loaded(loading: Mapping[str, str]) -> str:
    """Say what has to be done to rows before a bundle gets them."""
    done = " and ".join(f"{key}={value}" for key, value in loading.items())
    return (
        f"the model learned from rows that the loader had changed ({done}), which the graph does "
        "not do: give it rows that were changed in the same way."
    )


def _table(manifest: Mapping[str, Any]) -> str:
    rows = ["| | name | dtype | shape | meaning |", "|---|---|---|---|---|"]
    for what in ("inputs", "outputs"):
        for v in manifest[what]:
            dims = " x ".join(map(str, v["dims"]))
            rows.append(f"| {what[:-1]} | `{v['name']}` | {v['dtype']} | {dims} | {v['meaning']} |")
    return "\n".join(rows)


def _preparation(preprocessing: Mapping[str, Any], loading: Mapping[str, str]) -> str:
    if loading:
        return f"Before the graph: {loaded(loading)}"
    if not preprocessing:
        return "The graph takes raw values: nothing has to be scaled beforehand."
    return (
        "The graph prepares its input itself; give it raw values.\n\n"
        f"```json\n{_json(preprocessing)}\n```"
    )


def _code(manifest: Mapping[str, Any]) -> str:
    feeds = ", ".join(f'"{v["name"]}": sample["{v["name"]}"]' for v in manifest["inputs"])
    last = (
        "print(answer)"
        if manifest["output_names"]
        else 'names = pathlib.Path("labels.txt").read_text("utf-8").splitlines()\n'
        "print([names[i] for i in answer.argmax(1)])"
    )
    return (
        f"import numpy, onnxruntime{'' if manifest['output_names'] else ', pathlib'}\n"
        'sample = numpy.load("golden_input.npz")\n'
        'session = onnxruntime.InferenceSession("model.onnx", '
        'providers=["CUDAExecutionProvider", "CPUExecutionProvider"])\n'
        f"answer = session.run(None, {{{feeds}}})[0]\n{last}"
    )


def _checks(manifest: Mapping[str, Any]) -> str:
    p = manifest["parity"]
    agree = p["label_agreement"]
    labels = "" if agree is None else f"; labels agree on {agree:.1%} of the rows"
    rows = "real rows of the target" if manifest["golden"] == "target" else "random rows"
    return (
        f"onnxruntime differs from the trained model by at most {p['max_abs_diff']:.2g} on batches "
        f"of {_text(list(dict.fromkeys(p['batches'])))} rows{labels}. "
        f"`golden_input.npz` holds {rows}, `golden_output.npz` what the trained model answers: "
        "any server can be checked with them. `isthmus predict` compares every file with "
        "`manifest.json` first."
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
