from __future__ import annotations

from pathlib import Path

import pytest

from roost.client import connect
from roost.lifecycle.models.engine_address import EngineAddress
from roost.workspace import Workspace

SERVER = EngineAddress("http://milvus:19530")


@pytest.mark.parametrize(
    ("uri", "db_name", "expected"),
    [
        ("http://milvus:19530", "", SERVER),
        ("http://Milvus:19530/", "default", SERVER),
        ("http://u:hunter2@milvus:19530/default", "", SERVER),
        ("http://***@milvus:19530", "", SERVER),
        ("http://milvus:19530/prod", "", EngineAddress("http://milvus:19530", "prod")),
        ("http://milvus:19530", "prod", EngineAddress("http://milvus:19530", "prod")),
        ("http://milvus:19530/prod", "default", SERVER),
        ("unix:/run/milvus.sock", "prod", EngineAddress("unix:/run/milvus.sock", "prod")),
        ("file:///srv/shop", "", EngineAddress("/srv/shop")),
        ("postgresql://u:hunter2@db/roost", "", EngineAddress("postgresql://***@db/roost")),
    ],
)
def test_one_engine_has_one_address(uri: str, db_name: str, expected: EngineAddress) -> None:
    found = EngineAddress.of(uri, db_name)
    assert found == expected
    assert found.collection(found.uri("rows")) == "rows"


def test_a_folder_is_recorded_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert EngineAddress.of("shop").uri("rows") == f"{tmp_path}/shop#rows"
    assert EngineAddress.of(Path("shop"), "prod").uri("rows") == f"{tmp_path}/shop#prod/rows"
    assert str(EngineAddress.of("/srv/shop", "prod")) == "/srv/shop (database 'prod')"


def test_a_workspace_records_its_folder_and_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    with connect("shop/vectors.roost") as client:
        client.create_database("prod")
    with Workspace("shop", db_name="prod") as workspace:
        workspace.vectors.create_collection("rows", dimension=2)
        assert workspace.data.describe("rows").uri == f"{tmp_path}/shop#prod/rows"
    with Workspace("shop") as workspace:
        workspace.vectors.create_collection("rows", dimension=2)
        assert workspace.data.describe("rows").uri == f"{tmp_path}/shop#rows"
