"""What this machine can do, and the command that mends what it cannot."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from isthmus.deploy.providers import NAMES, REINSTALL, cores, create_session
from isthmus.errors import ProviderUnavailable

RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
BROKEN_RUNTIME = "1.27.0"  # its Linux wheel fails at import without libcudart.so.13
PAIR = "pip install --force-reinstall torch torchvision"
# y = Identity(x), float32 [n], opset 13, IR 8: the smallest model that makes a session
TINY = bytes.fromhex(
    "08083a390a100a017812017922084964656e746974791201745a100a0178120b0a09080112050a03"
    "12016e62100a0179120b0a09080112050a0312016e42040a00100d"
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``command`` mends it when it is not ``ok``."""

    name: str
    ok: bool
    detail: str
    command: str = ""


def examine() -> list[Finding]:
    """Look at everything; a check that crashes is a finding, and the others still run.

    A missing GPU is no fault. Nothing is changed and nothing is printed.
    """
    return [_isolated(name, check) for name, check in CHECKS.items()]


def _isolated(name: str, check: Callable[[str], Finding]) -> Finding:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check(name)
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "")
        return Finding(name, False, f"cannot be examined: {type(error).__name__}: {said}")


def _python(name: str) -> Finding:
    good = sys.version_info >= (3, 11)
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding(name, good, detail, "" if good else "install Python 3.11 or newer")


def _machine(name: str) -> Finding:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = f"{size / 2**30:.0f} GiB of memory"
    except (AttributeError, ValueError, OSError):  # Windows
        memory = "memory unknown"
    return Finding(name, True, f"{cores()} cores for this process, {memory}")


def _torch(name: str) -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding(name, False, f"cannot be imported: {error}", PAIR)
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    if not torch.cuda.is_available():
        return Finding(name, True, f"{torch.__version__}, {built}; no GPU is visible, runs on CPU")
    cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding(name, True, f"{torch.__version__}, {built}; {', '.join(cards)}")


def _torchvision(name: str) -> Finding:
    """Import it: a build for another torch says 'operator torchvision::nms does not exist'."""
    try:
        import torchvision
    except (ImportError, RuntimeError, AttributeError) as error:
        said = str(error).splitlines()[0]
        why = "was built for another torch" if "nms" in said else "cannot be imported"
        return Finding(name, False, f"{why}: {said}", PAIR)
    return Finding(name, True, str(torchvision.__version__))


def _runtime(name: str) -> Finding:
    found = {p: v for p in RUNTIMES if (v := _version(p))}
    if not found:
        return Finding(name, False, "not installed", "pip install onnxruntime-gpu")
    said = ", ".join(f"{p} {v}" for p, v in found.items())
    if len(found) > 1:
        return Finding(name, False, f"two packages share one folder: {said}", REINSTALL)
    if BROKEN_RUNTIME in found.values():
        command = f'pip install "{next(iter(found))}!={BROKEN_RUNTIME}"'
        return Finding(name, False, f"{said} fails at import without libcudart.so.13", command)
    return Finding(name, True, said)


def _provider(name: str) -> Finding:
    """Create a session: what onnxruntime lists is not what it can use."""
    try:
        session, _ = create_session(TINY, "cuda")
        return Finding(name, True, f"{session.get_providers()[0]} works")
    except ProviderUnavailable as error:
        cause, command = str(error), error.hint
    session, _ = create_session(TINY, "cpu")
    said = f"{NAMES['cpu']} works; {cause}"
    return Finding(name, False, said, command) if _has_gpu() else Finding(name, True, said)


def _cuda(name: str) -> Finding:
    """Compare the CUDA releases: two majors in one process bring two sets of libraries."""
    import torch
    from onnxruntime.capi import build_and_package_info as built

    theirs, ours = torch.version.cuda or "", str(getattr(built, "cuda_version", "") or "")
    said = f"torch {theirs or 'without CUDA'}, onnxruntime {ours or 'without CUDA'}"
    if theirs and ours and theirs.split(".")[0] != ours.split(".")[0]:
        return Finding(name, False, f"major versions differ: {said}", f"{PAIR} onnxruntime-gpu")
    return Finding(name, True, said)


def _has_gpu() -> bool:
    return Path("/dev/nvidia0").exists() or (
        "torch" in sys.modules and sys.modules["torch"].cuda.is_available()
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


CHECKS: dict[str, Callable[[str], Finding]] = {
    "python": _python,
    "machine": _machine,
    "torch": _torch,
    "torchvision": _torchvision,
    "onnxruntime": _runtime,
    "onnxruntime provider": _provider,
    "CUDA versions": _cuda,
}
