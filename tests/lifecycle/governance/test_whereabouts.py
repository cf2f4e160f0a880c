from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from roost.lifecycle.governance.data import KnownData
from roost.lifecycle.governance.whereabouts import checked
from roost.lifecycle.models.engine_address import EngineAddress

ROWS = KnownData("sha256:12", "collection", "rows", "", 10, "2024-05-01", "good", "")


def state_of(place: object, location: object, *there: str, state: str = "good") -> str:
    known = replace(ROWS, uri=f"{place}#rows", state=state)
    return checked(known, EngineAddress.of(str(location)), there.__contains__).state


def test_a_collection_is_looked_for_in_the_engine_that_had_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    here.mkdir()
    other.mkdir()
    assert state_of(here, here, "rows") == "good"
    assert state_of(here, here, "more") == "gone"
    assert state_of(other, here) == "good", "that is another workspace's"
    monkeypatch.chdir(tmp_path)
    assert state_of(here, "./here") == "gone", "the same folder by another name"
    (tmp_path / "link").symlink_to(here)
    assert state_of(tmp_path / "link", here) == "gone"
    assert state_of("./here", here) == "good", "nobody knows from which folder it was meant"
    assert state_of("/srv/train/ws", here) == "good", "a folder of another machine is not looked for here"


def test_a_collection_of_a_server_is_looked_for_there() -> None:
    server = "http://milvus:19530"
    assert state_of(server, server, "rows") == "good"
    assert state_of(f"{server}/", server) == "gone"
    assert state_of("http://elsewhere:19530", server) == "good"
    assert state_of("/shop", server) == "good"
    assert state_of(server, "/shop") == "good"
    assert state_of("gopher://milvus", server) == "good", "nobody can look there"
    assert state_of(server, "http://u:p@milvus:19530") == "gone", "who asks does not matter"
    assert state_of(server, f"{server}/prod") == "good", "that is another database"
    assert state_of(f"{server}/prod", f"{server}/prod") == "gone"


def test_what_was_said_of_data_holds_unless_it_is_not_there(tmp_path: Path) -> None:
    assert state_of(tmp_path, tmp_path, state="bad") == "bad"
    assert state_of(tmp_path, tmp_path, "rows", state="gone") == "gone"
    array = replace(ROWS, kind="array")
    assert checked(array, EngineAddress.of(tmp_path), lambda name: False) == array
