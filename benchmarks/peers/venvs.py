"""A virtual environment per peer library, made once, with the versions that are compared."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

# Numerical libraries of one version everywhere, so that only the methods differ.
SHARED = ("numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1")
PINS = {
    "skada": ("skada==0.6.0", "POT==0.9.7.post1"),
    "adapt": ("adapt==0.4.5",),  # with tensorflow, which importing it needs
    "pot": ("POT==0.9.7.post1",),
}
# These train networks, with our torch: what is installed here stands behind what they bring.
BESIDE = {
    "deep-skada": ("skada==0.6.0", "skorch==1.4.0"),
    "deep-pytorch_adapt": ("pytorch-adapt==0.0.83", "setuptools<81"),  # it reads pkg_resources
    "deep-tllib": ("prettytable==3.16.0",),  # and a clone
}
OURS, BY_HAND = "isthmus", "by_hand"


def python_of(library: str, root: Path) -> Path:
    """Return the interpreter that has ``library``; makes its environment under ``root`` first."""
    if library.removeprefix("deep-") in (OURS, BY_HAND):
        return Path(sys.executable)
    folder = root / library
    ready = folder / "ready"
    pins = BESIDE.get(library) or (*PINS[library], *SHARED)
    wanted = "\n".join(pins)
    if not ready.is_file() or ready.read_text() != wanted:
        print(f"installing {', '.join(pins)} in {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        if library in BESIDE:
            ours = sysconfig.get_path("purelib")
            inside = sysconfig.get_path("purelib", vars={"base": str(folder)})
            (Path(inside) / "ours.pth").write_text(ours)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted.split("\n")]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        ready.write_text(wanted)
    return folder / "bin" / "python"
