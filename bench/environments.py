"""The Python of each system: Roost's own, or a virtual environment under bench/.venvs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
VENVS = REPOSITORY / "bench" / ".venvs"

REQUIREMENTS = {
    "chroma": ("chromadb==1.5.9",),
    "lancedb": ("lancedb==0.40.0",),
    "milvus-lite": ("pymilvus==3.0.2", "milvus-lite==3.2.2"),
}


def make(name: str, requirements: Mapping[str, tuple[str, ...]] = REQUIREMENTS) -> Path:
    """Return the Python that has the peer, installed first where it is missing or has another version.

    Raises: subprocess.CalledProcessError: pip could not install it.
    """
    folder, wanted = VENVS / name, "\n".join(requirements[name])
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, REPOSITORY / ".ci" / "make_venv.py", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", *requirements[name]], check=True)
        stamp.write_text(wanted)
    return python


def find(name: str) -> Path | None:
    """Return the Python to measure a system with; say why and return None where it cannot be measured."""
    if name == "milvus" and not os.environ.get("ROOST_MILVUS_URI"):
        print("milvus is left out: ROOST_MILVUS_URI names no server")
        return None
    if name not in REQUIREMENTS:
        return Path(sys.executable)
    try:
        return make(name)
    except subprocess.CalledProcessError as error:
        print(f"{name} is left out: {error}")
        return None
