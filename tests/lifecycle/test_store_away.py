"""The database of a team's workspace goes away for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from roost.errors import StorageFailure
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


@contextmanager
def away(url: str) -> Iterator[None]:
    """Let nobody into the database, and throw out who is in it."""
    database = make_url(url).database
    engine = create_engine(os.environ["ROOST_POSTGRES_URL"], poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false')
        connection.exec_driver_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        )
        try:
            yield
        finally:
            connection.exec_driver_sql(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')


@pytest.mark.postgres
def test_endpoints_answer_while_the_database_is_away_and_everything_goes_on_when_it_is_back(
    postgres_server: str, place: Place, contested: SearchEndpoint, workspace: Workspace, digits: Digits
) -> None:
    with away(place.store):
        for image in digits.images[:20]:
            assert contested.search(image, limit=1).deployment == "digits-v1"
        with pytest.raises(StorageFailure) as refused:
            contested.promote("digits-v2", "better")
        assert str(make_url(place.store).password) not in refused.value.message
        with pytest.raises(StorageFailure):
            workspace.ledger.verify()
        assert contested.search(digits.images[0]).deployment == "digits-v1"
    n_entries = workspace.ledger.verify()
    assert contested.promote("digits-v2", "better").champion == "digits-v2"
    assert workspace.ledger.verify() == n_entries + 1
    workspace.flush_events()
