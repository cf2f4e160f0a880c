"""Make a virtual environment with pip in it, also where the system's Python comes without `ensurepip`.

Debian keeps `ensurepip` in a package of its own, python3-venv: root gets it installed, others are told.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "python3-venv"


def provide_ensurepip() -> None:
    """Install Debian's package. Raises: SystemExit: only a person can do it here; the message says how."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SystemExit(f"{sys.executable} cannot make virtual environments: install {PACKAGE}, then try again")
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", PACKAGE], check=True)


def main(target: Path) -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 - run by whatever python3 the machine has
        raise SystemExit(
            f"Roost needs Python 3.10 or newer; this is {sys.version.split()[0]}. Use: make PYTHON=python3.11"
        )
    if importlib.util.find_spec("ensurepip") is None:
        provide_ensurepip()
    print(f"making {target} with Python {sys.version.split()[0]}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", target], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
