"""A virtual environment per peer library, made once, with the versions that are compared."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

# Numerical libraries of one version everywhere, so that only the methods differ.
SHARED = ("numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1")
PINS = {
    "skada": ("skada==0.6.0", "POT==0.9.7.post1"),
    "adapt": ("adapt==0.4.5",),  # with tensorflow, which importing it needs
    "pot": ("POT==0.9.7.post1",),
}
OURS = "isthmus"


def python_of(library: str, root: Path) -> Path:
    """Return the interpreter that has ``library``; makes its environment under ``root`` first."""
    if library == OURS:
        return Path(sys.executable)
    folder = root / library
    ready = folder / "ready"
    wanted = "\n".join((*PINS[library], *SHARED))
    if not ready.is_file() or ready.read_text() != wanted:
        print(f"installing {', '.join(PINS[library])} in {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted.split("\n")]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        ready.write_text(wanted)
    return folder / "bin" / "python"
