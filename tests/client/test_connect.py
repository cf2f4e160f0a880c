"""Addresses: which client they give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from roost.client import connect, embedded_path
from roost.embedded import EmbeddedClient
from roost.errors import DatabaseNotFound, InvalidArgument, InvalidArgumentType, StorageFailure


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("./digits.roost", Path("digits.roost")),
        ("/data/digits", Path("/data/digits")),
        ("digits", Path("digits")),
        (Path("digits"), Path("digits")),
        ("file:///data/my%20digits", Path("/data/my digits")),
        ("file:relative/digits", Path("relative/digits")),
        ("./a:1", Path("a:1")),
        ("http://localhost:19530", None),
        ("https://user:secret@in01.zillizcloud.com:19538", None),
        ("HTTP://localhost", None),
        ("tcp://localhost:19530", None),
        ("unix:/tmp/milvus.sock", None),
    ],
)
def test_addresses(uri: Any, path: Path | None) -> None:
    assert embedded_path(uri) == path


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("localhost:19530", "http://localhost:19530"),
        ("ftp://host/x", "unknown scheme 'ftp'"),
        ("s3://bucket/x", "unknown scheme 's3'"),
        ("file://host/x", "another host"),
    ],
)
def test_bad_addresses(uri: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        connect(uri)


def test_an_address_is_a_str_or_a_path() -> None:
    with pytest.raises(InvalidArgumentType, match="uri=3"):
        connect(3)  # type: ignore[arg-type]


def test_a_path_gives_the_embedded_client(db_path: Path) -> None:
    for uri in (db_path, str(db_path), db_path.as_uri()):
        with connect(uri) as client:
            assert type(client) is EmbeddedClient
            assert client.list_databases() == ["default"]


def test_options_of_an_embedded_database(db_path: Path) -> None:
    with connect(db_path, durability="normal") as client, pytest.raises(InvalidArgument, match="durability"):
        connect(db_path, durability="full")
    client.close()
    with pytest.raises(InvalidArgument, match="unknown"):
        connect(db_path, durability="some")
    with pytest.raises(InvalidArgument, match="unknown option readonly="):
        connect(db_path, readonly=True)
    with pytest.raises(InvalidArgument, match="durability= is for embedded"):
        connect("http://localhost:19530", durability="full")


def test_a_database_that_is_not_there(db_path: Path) -> None:
    with pytest.raises(DatabaseNotFound, match="'other'"):
        connect(db_path, db_name="other")
    with pytest.raises(DatabaseNotFound):
        connect(db_path.with_name("none"), read_only=True)
    with connect(db_path) as client:
        client.create_database("other")
    with connect(db_path, db_name="other") as client:
        assert client.list_collections() == []


def test_a_file_is_not_a_database(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for options in ({}, {"read_only": True}):
        with pytest.raises(InvalidArgument, match="is a file; a database is a directory"):
            connect(file, **options)


def test_a_path_inside_a_file_is_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for options in ({}, {"read_only": True}):
        with pytest.raises(InvalidArgument, match="file is a file; a database is a directory"):
            connect(tmp_path / "file" / "x" / "y", **options)


def test_a_file_of_a_database_names_the_database(db_path: Path) -> None:
    connect(db_path).close()
    for file in ("roost.db", "LOCK"):
        with pytest.raises(InvalidArgument, match=f"is a file of a database; name its directory: {db_path}"):
            connect(db_path / file)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("has_vectors", [False, True])
def test_a_workspace_is_not_a_database(tmp_path: Path, has_vectors: bool, read_only: bool) -> None:
    (tmp_path / "store.db").touch()
    if has_vectors:
        connect(tmp_path / "vectors.roost").close()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidArgument, match=r"is a workspace: open it with roost\.Workspace") as caught:
        connect(tmp_path, read_only=read_only)
    assert ("vectors.roost" in str(caught.value)) is has_vectors
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_of_other_things_is_not_made_a_database(tmp_path: Path) -> None:
    for name in ("thesis.tex", "b", "c", "d"):
        (tmp_path / name).touch()
    with pytest.raises(InvalidArgument, match=r"is not a database and holds other things \(b, c, d, \.\.\.\)"):
        connect(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_hidden_files_are_no_hindrance_and_nor_is_what_comes_later(tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()
    (tmp_path / "lost+found").mkdir()
    connect(tmp_path).close()
    (tmp_path / "notes.txt").touch()
    connect(tmp_path).close()


@pytest.mark.parametrize("uri", ["a\0b", Path("a\0b"), "file:///a%00b"])
def test_a_path_with_a_nul_character(uri: Any) -> None:
    with pytest.raises(InvalidArgument, match="NUL"):
        connect(uri)


def test_paths_that_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="not a path that can be followed"):
        connect("~no-such-user-here/x")
    with pytest.raises(StorageFailure, match="too long"):
        connect(tmp_path / ("x" * 300))


def test_no_server_is_a_milvus_error() -> None:
    with pytest.raises(MilvusException):
        connect("http://127.0.0.1:9", timeout=0.2)


@pytest.mark.milvus
def test_a_server_gives_pymilvus_own_client(milvus_uri: str) -> None:
    client = connect(milvus_uri)
    assert type(client) is MilvusClient
    client.close()


def test_importing_the_module_is_cheap() -> None:
    code = "import sys, roost.client; print('faiss' in sys.modules, 'roost.engine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.split() == ["False", "False"]


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(p for p in sys.path if p)}
