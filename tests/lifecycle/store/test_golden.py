"""Stores that older versions made open for ever.

Each file under `golden/` is the dump of a store that the version of its number made through a
workspace: two endpoints; deployments that serve, are ready, retired, failed, and half built; jobs, rejected
records and live writes; a live test that was stopped and one that runs; events; and the ledger.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, select
from sqlalchemy.pool import NullPool

from roost.lifecycle import store as store_package
from roost.lifecycle.deployments.deployment import check_seal, deployment_of
from roost.lifecycle.deployments.promotion import arms_of, running_test
from roost.lifecycle.ledger import Ledger, append
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import REVISION, VERSION_TABLE
from roost.lifecycle.store.tables import (
    DeploymentRow,
    EndpointRow,
    EventRow,
    JobRow,
    LiveTestRow,
    LiveWriteRow,
    RejectedRow,
    Table,
)

GOLDEN = Path(__file__).with_name("golden")
FILES = sorted(GOLDEN.glob("*.sql"))


def load(path: Path, url: str) -> None:
    """Run a dump into an empty database."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        run = driver.executescript if engine.dialect.name == "sqlite" else driver.execute
        run(path.read_text(encoding="utf-8"))


@pytest.fixture(
    params=[
        pytest.param(path, marks=[pytest.mark.postgres] if "postgresql" in path.name else [], id=path.stem)
        for path in FILES
    ]
)
def golden_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that an older version has made."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if "postgresql" in request.param.name:
        url = str(request.getfixturevalue("postgres_url"))
    load(request.param, url)
    return url


def test_there_is_one_of_each_kind() -> None:
    assert {path.name for path in FILES} >= {"0001-sqlite.sql", "0001-postgresql.sql"}


def schema_differences(url: str) -> list[object]:
    """Return what the tables of a database have that the code does not know, and the other way round."""
    for module in pkgutil.iter_modules(store_package.__path__):
        if module.name.endswith("tables"):
            importlib.import_module(f"{store_package.__name__}.{module.name}")
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert context.get_current_revision() == REVISION
        return list(compare_metadata(context, Table.metadata))


def test_a_new_store_has_the_tables_that_the_code_reads(store_url: str) -> None:
    Store(store_url).close()
    assert schema_differences(store_url) == []


def test_an_old_store_gets_the_tables_of_a_new_one(golden_url: str) -> None:
    Store(golden_url).close()
    assert schema_differences(golden_url) == []


def test_an_old_store_keeps_its_rows(golden_url: str) -> None:
    store = Store(golden_url)
    with store.read() as session:
        endpoint, empty = session.scalars(select(EndpointRow).order_by(EndpointRow.id))
        deployments = session.scalars(select(DeploymentRow).order_by(DeploymentRow.id)).all()
        counts = {
            table: session.scalars(select(func.count()).select_from(table)).one()
            for table in (JobRow, LiveTestRow, LiveWriteRow, RejectedRow, EventRow)
        }
    assert (endpoint.name, empty.name, empty.metric) == ("image-search", "empty", "COSINE")
    assert (endpoint.kind, endpoint.environment, endpoint.task) == ("search", "production", None)
    found = [deployment_of(row, endpoint.name) for row in deployments]
    assert {d.name: (d.state.value, d.n_records, d.n_rejected) for d in found} == {
        "digits-v1": ("serving", 59, 1),
        "digits-v2": ("ready", 60, 0),
        "spare": ("retired", 20, 0),
        "half": ("building", 40, 0),
        "failed": ("failed", 0, 1),
    }
    assert all(type(d.n_records) is int and type(d.n_rejected) is int for d in found)
    assert found[0].id == endpoint.champion_id
    assert counts == {JobRow: 5, LiveTestRow: 2, LiveWriteRow: 1, RejectedRow: 2, EventRow: 27}
    store.close()


def test_what_was_sealed_by_an_old_version_is_still_what_was_sealed(golden_url: str) -> None:
    store = Store(golden_url)
    with store.read() as session:
        endpoint = session.get_one(EndpointRow, 1)
        sealed = [row for row in session.scalars(select(DeploymentRow)) if row.seal is not None]
    assert len(sealed) == 3
    for row in sealed:
        check_seal(row, endpoint.metric, endpoint.fields)
    store.close()


def test_an_old_live_test_has_its_arms(golden_url: str) -> None:
    store = Store(golden_url)
    with store.read() as session:
        test = running_test(session, 1)
        assert test is not None
        assert [(arm.position, arm.deployment_id) for arm in arms_of(session, test.id)] == [(0, 1), (1, 2)]
    store.close()


def test_an_old_ledger_verifies_and_goes_on(golden_url: str) -> None:
    store = Store(golden_url)
    ledger = Ledger(store)
    assert ledger.verify() == 20
    with store.write() as session:
        append(session, "ann", "promote", "image-search", "digits-v2", "better")
    assert ledger.verify() == 21
    assert ledger.at("image-search", "9999-01-01T00:00:00+00:00") == "digits-v2"
    store.close()
