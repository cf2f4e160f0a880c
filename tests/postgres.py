"""Databases for tests on the PostgreSQL server that ROOST_POSTGRES_URL names."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool


def create(server: str, template: str | None = None) -> str:
    """Make a database, empty or as a copy of the one at `template`, and return its URL."""
    name = f"roost_{uuid4().hex[:16]}"
    copied = f' TEMPLATE "{make_url(template).database}"' if template else ""
    _execute(make_url(server), f'CREATE DATABASE "{name}"{copied}')
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def drop(url: str) -> None:
    """Drop the database at a URL, with whatever is still connected to it."""
    database = make_url(url)
    _execute(database.set(database="postgres"), f'DROP DATABASE "{database.database}" WITH (FORCE)')


def _execute(server: URL, statement: str) -> None:
    engine = create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
