from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent.parent / ".ci"


@pytest.fixture
def make_venv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_venv", SCRIPTS / "make_venv.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_who_is_not_root_is_told_what_to_install(make_venv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="install python3-venv"):
        make_venv.provide_ensurepip()


@pytest.mark.slow
def test_an_environment_has_pip(make_venv: ModuleType, tmp_path: Path) -> None:
    make_venv.main(tmp_path / "venv")
    subprocess.run([tmp_path / "venv" / "bin" / "python", "-m", "pip", "--version"], check=True, capture_output=True)
