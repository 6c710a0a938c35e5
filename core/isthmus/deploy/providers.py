"""Which hardware onnxruntime really uses. ``session.get_providers()`` is the only truth.

``get_available_providers()`` lists what the wheel was built with, and a session that was asked for
CUDA falls back to the CPU without an error.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

from isthmus.errors import BadInput, ProviderUnavailable
from isthmus.kept import kept_folder

Device: TypeAlias = Literal["auto", "cpu", "cuda", "tensorrt"]
NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
CUDA_LIBRARIES = 'pip install "onnxruntime-gpu[cuda,cudnn]"'
REINSTALL = (
    "pip uninstall -y onnxruntime && pip install --force-reinstall --no-deps onnxruntime-gpu"
)
_CAUSES = (re.compile(r"with error: (.*)"), re.compile(r"(CUDA failure \d+: [^;\n]*)"))
_LOCK = threading.Lock()  # file descriptors belong to the process


def create_session(
    model: Path | bytes, device: Device | str = "auto", threads: int | None = None
) -> tuple[Any, str]:
    """Return an onnxruntime session and one line that says where it runs and why.

    ``threads`` defaults to the cores this process may use. Raises ProviderUnavailable when
    ``cuda`` or ``tensorrt`` was asked for and the session would run elsewhere; nothing is printed.
    """
    import onnxruntime

    if device not in ("auto", *NAMES):
        raise BadInput(f"there is no device {device!r}, expected auto, cpu, cuda or tensorrt")
    source = model if isinstance(model, bytes) else str(model)
    options = _options(threads)
    if device == "cpu":
        return onnxruntime.InferenceSession(source, options, [NAMES["cpu"]]), "cpu, as asked"
    wanted = NAMES["cuda" if device == "auto" else device]
    if wanted not in onnxruntime.get_available_providers():  # a no can be trusted, a yes cannot
        cause, hint = "this onnxruntime was built without it", REINSTALL
    else:
        session, talk = _attempt(source, wanted, options)
        if session is not None and session.get_providers()[0] == wanted:
            return session, f"{wanted.removesuffix('ExecutionProvider').lower()}, it is usable"
        cause = _cause(talk)
        hint = _remedy(cause)
    if device == "auto":
        session = onnxruntime.InferenceSession(source, options, [NAMES["cpu"]])
        return session, f"cpu, because CUDA cannot be used ({cause})"
    raise ProviderUnavailable(f"{wanted} cannot be used: {cause}", hint=hint)


def _options(threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Left alone, onnxruntime pins a thread to every core of the machine and fails in containers
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def cores() -> int:
    """Return how many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _attempt(source: str | bytes, wanted: str, options: Any) -> tuple[Any, str]:
    """Try one provider; return the session, if any, and all that was said."""
    import onnxruntime

    providers: list[Any] = [
        (NAMES["cuda"], {"cudnn_conv_algo_search": "HEURISTIC"}),  # exhaustive: 0.6 s per shape
        NAMES["cpu"],
    ]
    if wanted == NAMES["tensorrt"]:
        engine: dict[str, Any] = {}
        if (folder := kept_folder()) is not None:  # building an engine takes minutes
            cache = folder / "tensorrt"
            cache.mkdir(parents=True, exist_ok=True)
            engine = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache)}
        providers.insert(0, (wanted, engine))
    session, failure = None, ""
    with captured() as talk:
        onnxruntime.preload_dlls()  # finds the libraries that pip installed
        try:
            session = onnxruntime.InferenceSession(source, options, providers)
        except Exception as error:  # onnxruntime's exceptions share no public type
            failure = str(error)
    return session, talk[0] + failure


@contextmanager
def captured() -> Iterator[list[str]]:
    """Collect what C++ and Python write to stdout and stderr; the list holds it afterwards."""
    talk, python = [""], StringIO()  # Python's streams are not the descriptors in a notebook
    with _LOCK, tempfile.TemporaryFile() as sink:
        _flush()
        kept = {}
        for fd in (1, 2):
            with suppress(OSError):  # a daemon may have closed it
                kept[fd] = os.dup(fd)
        try:
            for fd in kept:
                os.dup2(sink.fileno(), fd)
            with redirect_stdout(python), redirect_stderr(python):
                yield talk
        finally:
            _flush()
            for fd, copy in kept.items():
                os.dup2(copy, fd)
                os.close(copy)
            sink.seek(0)
            talk[0] = sink.read().decode(errors="replace") + python.getvalue()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _cause(talk: str) -> str:
    for pattern in _CAUSES:
        if found := pattern.search(talk):
            return found[1].strip().removesuffix(": No such file or directory")
    return "onnxruntime gave no reason and chose the CPU"


def _remedy(cause: str) -> str:
    if "libnvinfer" in cause:
        return "pip install tensorrt"
    if "libcuda.so" in cause or "CUDA failure" in cause:
        return "nvidia-smi  (it says whether this machine has a GPU and a driver)"
    return CUDA_LIBRARIES
