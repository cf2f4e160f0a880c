"""Primary keys that collections make for themselves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from roost.client import connect
from roost.embedded.auto_keys import KeySource
from roost.engine.database import Database


def test_keys_ascend_and_never_repeat(db_path: Path) -> None:
    with connect(db_path) as client:
        client.create_collection("rows", 2, auto_id=True)
        client.create_collection("other", 2, auto_id=True)
        keys = [
            key for name in ("rows", "other", "rows") for key in client.insert(name, [{"vector": [1, 2]}] * 300)["ids"]
        ]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("id_type", ["int", "string"])
def test_a_clock_that_went_back_gives_no_key_again(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, id_type: str
) -> None:
    with connect(db_path) as client:
        client.create_collection("rows", 2, auto_id=True, id_type=id_type, max_length=20)
        (before,) = client.insert("rows", {"vector": [1, 2]})["ids"]
    database = Database.open(db_path)
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    after = KeySource().take(database.collection("default", "rows"), 2)
    database.close()
    assert after == [int(before) + 1, int(before) + 2]
