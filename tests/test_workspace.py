from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from roost.errors import Closed, InvalidArgument, StorageFailure
from roost.workspace import Workspace


def test_a_directory_holds_everything(tmp_path: Path) -> None:
    home = tmp_path / "new" / "digits"
    with Workspace(home, actor="ann") as workspace:
        assert workspace.vectors.list_collections() == []
        assert workspace.endpoints.list() == []
        assert workspace.ledger.verify() == 0
        assert repr(workspace) == f"Workspace({str(home)!r})"
    assert {path.name for path in home.iterdir()} >= {"vectors.roost", "store.db", "artifacts"}


def test_the_store_and_the_artifacts_may_be_elsewhere(tmp_path: Path) -> None:
    with Workspace(tmp_path / "a", store=f"sqlite:///{tmp_path / 's.db'}", artifacts=tmp_path / "models") as workspace:
        workspace.endpoints.create("search")
    assert (tmp_path / "s.db").is_file() and (tmp_path / "models").is_dir()
    with Workspace(tmp_path / "b", store=tmp_path / "c"):
        assert (tmp_path / "c" / "store.db").is_file() and (tmp_path / "c" / "artifacts").is_dir()


def test_a_directory_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter 1")
    with pytest.raises(InvalidArgument, match=r"holds other things \(thesis\.tex\)"):
        Workspace(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".hidden").touch()
    Workspace(tmp_path / "new").close()
    (tmp_path / "new" / "notes.txt").touch()
    Workspace(tmp_path / "new").close()


@pytest.mark.postgres
def test_a_closed_workspace_has_no_connection_to_its_store(postgres_url: str, tmp_path: Path) -> None:
    """MLflow would keep its own."""
    with Workspace(tmp_path / "w", store=postgres_url, artifacts=tmp_path / "models") as workspace:
        workspace.endpoints.create("search")
        with workspace.runs.start("train"):
            assert n_connections(postgres_url) >= 2
    for _ in range(100):
        if n_connections(postgres_url) == 0:
            break
        time.sleep(0.05)
    assert n_connections(postgres_url) == 0


def n_connections(url: str) -> int:
    """Return how many others are connected to a database."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM pg_stat_activity WHERE {others}").scalar() or 0)


def test_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="store="):
        Workspace("http://127.0.0.1:19530")
    with pytest.raises(InvalidArgument, match="artifacts="):
        Workspace(tmp_path, store=f"sqlite:///{tmp_path / 's.db'}")


def test_secrets_in_addresses_are_never_shown(tmp_path: Path) -> None:
    """A server's address may carry a password or a token, a store's URL a password."""
    with pytest.raises(InvalidArgument) as without_store:
        Workspace("http://root:hunter2@127.0.0.1:1")
    with pytest.raises(InvalidArgument) as with_an_option:
        Workspace("http://hunter2@127.0.0.1:1", store=tmp_path, read_only=True)
    with pytest.raises(InvalidArgument) as with_a_bad_store:
        Workspace(tmp_path / "a", store="nosuch://root:hunter2@db/x", artifacts=tmp_path)
    for caught in (without_store, with_an_option):
        assert "***@" in str(caught.value)
    for caught in (without_store, with_an_option, with_a_bad_store):
        assert "hunter2" not in str(caught.value)


def test_a_closed_workspace_says_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    endpoint = workspace.endpoints.create("search")
    assert workspace.runs is not None
    workspace.close()
    workspace.close()
    assert repr(workspace).endswith(", closed)")
    for name in ("vectors", "models", "runs", "endpoints", "ledger"):
        with pytest.raises(Closed):
            getattr(workspace, name)
    with pytest.raises(Closed):
        endpoint.deployments()


def test_a_store_that_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, and long enough to be taken for one" * 40)
    with pytest.raises(StorageFailure):
        Workspace(tmp_path)
    (tmp_path / "store.db").unlink()
    Workspace(tmp_path).close()


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from roost.errors import DatabaseLocked\n"
        "from roost.workspace import Workspace\n"
        "try:\n"
        "    Workspace(sys.argv[1])\n"
        "except DatabaseLocked:\n"
        "    sys.exit(3)\n"
    )
    source = str(Path(__file__).parents[1] / "src")
    with Workspace(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], env={"PYTHONPATH": source}, capture_output=True, check=False
        )
    assert done.returncode == 3, done.stderr
