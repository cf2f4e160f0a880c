from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent.parent / ".ci"


@pytest.fixture
def with_milvus(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    spec = importlib.util.spec_from_file_location("with_milvus", SCRIPTS / "with_milvus.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_command_is_needed() -> None:
    script = SCRIPTS / "with_milvus.py"
    done = subprocess.run([sys.executable, script, "--optional"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Run a command with a real Milvus server beside it")


def test_ports_differ(with_milvus: ModuleType) -> None:
    assert len(set(with_milvus.free_ports(5))) == 5


def test_a_server_that_ends_at_once_is_shown_with_its_output(with_milvus: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("no space left")
    server = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    server.wait()
    with pytest.raises(SystemExit, match="ended with status 3; its output:\nno space left"):
        with_milvus.wait_until_it_answers("http://127.0.0.1:1", server, log)


def test_without_the_package_an_optional_server_is_left_out(
    with_milvus: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(with_milvus, "VENV", tmp_path / "venv")
    monkeypatch.setattr(with_milvus, "REQUIREMENT", str(tmp_path / "no-such-package"))
    monkeypatch.setattr(with_milvus.make_venv, "main", lambda target: link_python(target))
    command = [sys.executable, "-c", "raise SystemExit(7)"]
    assert with_milvus.main(["--optional", *command]) == 7
    assert "going on without a Milvus server" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="cannot be installed"):
        with_milvus.main(command)


def link_python(target: Path) -> None:
    """Make what looks like an environment: this one's Python, which has pip."""
    (target / "bin").mkdir(parents=True, exist_ok=True)
    if not (target / "bin" / "python").exists():
        script = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
        (target / "bin" / "python").write_text(script)
        (target / "bin" / "python").chmod(0o755)
