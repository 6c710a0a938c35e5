"""Inference from a bundle with numpy and onnxruntime alone: no torch, no plugin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.deploy import arrays
from isthmus.deploy.manifest import MODEL, read_manifest
from isthmus.deploy.providers import create_session
from isthmus.errors import BadInput
from isthmus.graph import Graph, Relation

VALUES = 2**23  # of the input of one run: bounds memory
ROWS = 4096
WINDOW = 256  # images held at a time


class Predictor:
    """Answers from a bundle on the hardware that is there.

    ``device`` is auto, cpu, cuda or tensorrt; ``threads`` defaults to the cores this process may
    use. Every file is compared with the manifest first. Pickling keeps the path and the options,
    so a copy in another process opens the bundle again.

    >>> Predictor("bundle").labels(images)               # doctest: +SKIP
    """

    manifest: dict[str, Any]
    provider: str  # what the session really runs on, such as "CPUExecutionProvider"
    reason: str  # one line: where it runs and why

    def __init__(
        self, bundle: Path | str, device: str = "auto", *, threads: int | None = None
    ) -> None:
        """Raise GateFailed when a file was changed, ProviderUnavailable without the device."""
        self._options: dict[str, Any] = {"device": device, "threads": threads}
        self.bundle = Path(bundle).resolve()
        self.manifest = read_manifest(self.bundle)
        self._session, self.reason = create_session(self.bundle / MODEL, device, threads)
        self.provider = str(self._session.get_providers()[0])

    def __getstate__(self) -> dict[str, Any]:
        return {"bundle": self.bundle, **self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Predictor({self.bundle.name!r}, {self.provider})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes; empty in regression."""
        return tuple(self.manifest["classes"])

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the predicted values; empty in classification."""
        return tuple(self.manifest["output_names"])

    def predict(self, x: Any) -> NDArray[np.float32]:
        """Return float32 (n, classes) probabilities or (n, outputs) values, in bounded batches.

        ``x`` is, by the kind of the bundle: rows (n, d), an array or a SciPy matrix; images, a
        sequence of uint8 (height, width, channels) of any sizes or one array (n, height, width,
        channels); a graph, ``(features, edges)`` or ``isthmus.Graph``, whose edges are followed
        both ways; or a mapping of input names to arrays, as the graph takes them. A data frame's
        columns are taken by name. Raises BadInput that says what was expected.
        """
        if isinstance(x, Mapping):
            return self._named(x)
        kind = self.manifest["kind"]
        if "edges" in (spec["name"] for spec in self._inputs):
            return self._graph(x)
        if len(self._inputs) > 1:
            names = [spec["name"] for spec in self._inputs]
            raise BadInput(f"this bundle takes a mapping with {names}, got {type(x).__name__}")
        return self._images(x) if kind == "image" else self._rows(x)

    def labels(self, x: Any) -> list[str]:
        """Return the name of the most probable class of each instance."""
        if not self.classes:
            raise BadInput("this bundle predicts values, not classes", hint="use predict(x)")
        return [self.classes[i] for i in self.predict(x).argmax(1)]

    @property
    def _inputs(self) -> list[dict[str, Any]]:
        return list(self.manifest["inputs"])

    def _run(self, feeds: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        n = len(feeds[self._inputs[0]["name"]])
        if not n:  # some kernels refuse empty batches
            return np.zeros((0, len(self.classes or self.outputs)), np.float32)
        return np.asarray(self._session.run(None, dict(feeds))[0], np.float32)

    def _rows(self, x: Any) -> NDArray[np.float32]:
        spec = self._inputs[0]
        if hasattr(x, "columns") and (features := self.manifest.get("features")):
            if missing := [name for name in features if name not in x.columns]:
                raise BadInput(f"the data frame has no column {missing[0]!r}")
            x = x[features]
        x = x if hasattr(x, "shape") and not hasattr(x, "iloc") else np.asarray(x)
        size = _size(math.prod(x.shape[1:]))
        n = x.shape[0] if x.shape else 0
        blocks = (slice(at, at + size) for at in range(0, max(n, 1), size))
        return np.concatenate(
            [self._run({spec["name"]: arrays.numbers(_part(x, b), spec, b.start)}) for b in blocks]
        )

    def _images(self, x: Any) -> NDArray[np.float32]:
        spec = self._inputs[0]
        if isinstance(x, np.ndarray) and x.dtype != object and x.ndim != 4:
            raise BadInput(
                f"expected a list of images or one array (n, height, width, channels), got an "
                f"array of shape {x.shape}",
                hint="one image goes in a list: [image]",
            )
        out = np.zeros((len(x), len(self.classes or self.outputs)), np.float32)
        for start in range(0, len(x), WINDOW):
            stop = min(start + WINDOW, len(x))
            window = [arrays.image(x[i], spec) for i in range(start, stop)]
            for chosen in _same_size(window):
                batch = np.stack([window[i] for i in chosen])
                out[start + np.array(chosen)] = self._run({spec["name"]: batch})
        return out

    def _graph(self, x: Any) -> NDArray[np.float32]:
        if isinstance(x, tuple | list) and len(x) == 2:
            x = Graph(x[0], (Relation(index=x[1]),))
        if not callable(getattr(x, "edges", None)):
            raise BadInput(f"expected a graph as (features, edges), got {type(x).__name__}")
        return self._named({self._inputs[0]["name"]: x.features, "edges": x.edges()})

    def _named(self, x: Mapping[str, Any]) -> NDArray[np.float32]:
        """Run once on named inputs: rows that hang together are not split."""
        names = [spec["name"] for spec in self._inputs]
        if set(x) != set(names):
            raise BadInput(f"this bundle takes the inputs {names}, got {sorted(x)}")
        if len(names) == 1:
            return self.predict(x[names[0]])
        feeds = {
            s["name"]: arrays.numbers(x[s["name"]], s) for s in self._inputs if s["name"] != "edges"
        }
        if "edges" in names:
            feeds["edges"] = arrays.edges(x["edges"], len(feeds[names[0]]))
        return self._run({name: feeds[name] for name in names})


def _size(values: int) -> int:
    return max(1, min(ROWS, VALUES // max(values, 1)))


def _part(x: Any, rows: slice) -> Any:
    return x[rows] if len(x.shape) else x


def _same_size(images: list[NDArray[np.uint8]]) -> Iterator[list[int]]:
    """Yield places of images of one shape, in batches that fit in memory."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        groups.setdefault(image.shape, []).append(i)
    for shape, places in groups.items():
        size = _size(math.prod(shape))
        for at in range(0, len(places), size):
            yield places[at : at + size]
