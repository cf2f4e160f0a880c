from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

SCRIPT = Path(__file__).resolve().parent.parent.parent / ".ci" / "with_postgres.py"
COMMAND = """
import os, sys
from sqlalchemy import create_engine
url = os.environ["ROOST_POSTGRES_URL"]
with create_engine(url).connect() as connection:
    print(url, connection.exec_driver_sql("SHOW data_directory").scalar())
sys.exit(5)
"""


@pytest.fixture
def with_postgres() -> ModuleType:
    spec = importlib.util.spec_from_file_location("with_postgres", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_command_is_needed() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--optional"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Run a command with a PostgreSQL server beside it")


def test_without_a_server_an_optional_one_is_left_out(
    with_postgres: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(with_postgres, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = [sys.executable, "-c", "raise SystemExit(7)"]
    assert with_postgres.main(["--optional", *command]) == 7
    assert "apt-get install postgresql" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="PostgreSQL is not installed"):
        with_postgres.main(command)


def test_the_newest_server_is_taken(with_postgres: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for version in ("9", "13", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch(mode=0o755)
    (tmp_path / "16" / "bin").mkdir(parents=True)
    monkeypatch.setattr(with_postgres, "ROOT", tmp_path)
    assert with_postgres.programs() == tmp_path / "15" / "bin"


def test_a_server_that_ends_at_once_is_shown_with_its_output(with_postgres: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("no space left")
    server = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    server.wait()
    with pytest.raises(SystemExit, match="ended with status 3; its output:\nno space left"):
        with_postgres.wait_until_it_answers(Path("/nowhere"), 1, server, log)


@pytest.mark.postgres
def test_the_command_finds_a_server_that_is_gone_afterwards(postgres_server: str, with_postgres: ModuleType) -> None:
    if with_postgres.programs() is None:
        pytest.skip("needs the programs of a PostgreSQL server: apt-get install postgresql")
    command = [sys.executable, SCRIPT, sys.executable, "-c", COMMAND]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    address, data = done.stdout.splitlines()[-1].split()
    url = make_url(address)
    assert url.password and url.port != make_url(postgres_server).port
    with pytest.raises(OperationalError, match="refused"), create_engine(url).connect():
        pass
    assert not Path(data).parent.exists()
