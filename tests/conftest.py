"""What every test may ask for."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import settings

from tests import postgres

settings.register_profile("roost", deadline=None, print_blob=True)
settings.load_profile("roost")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that gives the same numbers in every run."""
    return np.random.default_rng(20_240_607)


@pytest.fixture
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, from which modules are imported; they are forgotten when the test ends."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    """Where an embedded database may be made."""
    return tmp_path / "test.roost"


@pytest.fixture(scope="session")
def milvus_uri() -> str:
    """The address of a real Milvus server; the test is skipped where there is none."""
    uri = os.environ.get("ROOST_MILVUS_URI", "")
    if not uri:
        pytest.skip("needs a Milvus server: set ROOST_MILVUS_URI, for example to http://127.0.0.1:19530")
    return uri


@pytest.fixture
def milvus_prefix(milvus_uri: str) -> Iterator[str]:
    """A prefix for names on the Milvus server; collections and aliases that carry it are dropped afterwards."""
    from pymilvus import MilvusClient

    prefix = f"roost_{uuid4().hex[:12]}_"
    yield prefix
    client = MilvusClient(milvus_uri)
    for name in client.list_collections():
        if name.startswith(prefix):
            for alias in client.list_aliases(name)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(name)
    client.close()


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The URL of a real PostgreSQL server; the test is skipped where there is none."""
    url = os.environ.get("ROOST_POSTGRES_URL", "")
    if not url:
        pytest.skip("needs a PostgreSQL server: python .ci/with_postgres.py make test, or set ROOST_POSTGRES_URL")
    return url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, which is dropped afterwards."""
    url = postgres.create(postgres_server)
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind that a workspace's store may be in."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'store.db'}"
