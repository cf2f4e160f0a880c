"""The lifecycle's tables. The prefix keeps them apart from MLflow's in the same database."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    cast,
    func,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

BigKey = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the column's type is INTEGER."""


class Table(DeclarativeBase):
    """Root of the tables; times are ISO 8601 text in UTC, structured values are JSON text."""


class EndpointRow(Table):
    """An endpoint. Its row is the truth of who is champion.

    `version` grows with every change and guards against two actors changing the row at once.
    `followed_version` is the last version whose champion the engine's and MLflow's aliases show.
    `planned_collection` is one that is being made for a deployment that has not begun, with its token.
    """

    __tablename__ = "roost_endpoints"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    identifier: Mapped[str] = mapped_column(String(100), unique=True)
    kind: Mapped[str] = mapped_column(String(20), default="search")
    task: Mapped[str | None] = mapped_column(String(20))
    environment: Mapped[str] = mapped_column(String(50), default="production")
    owner: Mapped[str | None] = mapped_column(String(255))
    metric: Mapped[str] = mapped_column(String(20))
    fields: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    policy: Mapped[str] = mapped_column(Text, default="{}")
    champion_id: Mapped[int | None] = mapped_column(Integer)
    planned_collection: Mapped[str | None] = mapped_column(String(255))
    version: Mapped[int] = mapped_column(Integer, default=1)
    followed_version: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[str] = mapped_column(String(32))


class JobRow(Table):
    """Long work and how far it has come.

    `digest` chains the keys of the records already taken. `wanted` is what its owner asks of it: run, pause or
    cancel. `worker` names the process that carries it out.
    """

    __tablename__ = "roost_jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    endpoint_id: Mapped[int | None] = mapped_column(Integer)
    deployment_id: Mapped[int | None] = mapped_column(ForeignKey("roost_deployments.id"), index=True)
    actor: Mapped[str | None] = mapped_column(String(255))
    request: Mapped[str] = mapped_column(Text, default="{}")
    result: Mapped[str] = mapped_column(Text, default="{}")
    state: Mapped[str] = mapped_column(String(20))
    wanted: Mapped[str] = mapped_column(String(20), default="run")
    worker: Mapped[str | None] = mapped_column(String(255))
    total: Mapped[int | None] = mapped_column(BigInteger)
    n_done: Mapped[int] = mapped_column(BigInteger, default=0)
    n_rejected: Mapped[int] = mapped_column(BigInteger, default=0)
    digest: Mapped[str] = mapped_column(String(80))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[str | None] = mapped_column(String(32))
    updated_at: Mapped[str] = mapped_column(String(32))


class DeploymentRow(Table):
    """A model version, its vectors, index and configuration.

    `n_stored` and `n_rejected` are read from its jobs and are not columns of the table.
    """

    __tablename__ = "roost_deployments"
    __table_args__ = (UniqueConstraint("endpoint_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("roost_endpoints.id"))
    name: Mapped[str] = mapped_column(String(100))
    collection: Mapped[str] = mapped_column(String(255), unique=True)
    state: Mapped[str] = mapped_column(String(20))
    model_name: Mapped[str] = mapped_column(String(100))
    model_version: Mapped[int] = mapped_column(Integer)
    model_files: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(80))
    dim: Mapped[int] = mapped_column(Integer)
    index_params: Mapped[str] = mapped_column(Text)
    search_params: Mapped[str] = mapped_column(Text)
    configuration: Mapped[str] = mapped_column(Text, default="{}")
    owner: Mapped[str | None] = mapped_column(String(255))
    n_records: Mapped[int] = mapped_column(BigInteger, default=0)
    seal: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[str] = mapped_column(String(32))
    n_stored: Mapped[int] = column_property(
        select(cast(func.coalesce(func.sum(JobRow.n_done - JobRow.n_rejected), 0), BigInteger))
        .where(JobRow.deployment_id == id)
        .correlate_except(JobRow)
        .scalar_subquery()
    )
    n_rejected: Mapped[int] = column_property(
        select(cast(func.coalesce(func.sum(JobRow.n_rejected), 0), BigInteger))
        .where(JobRow.deployment_id == id)
        .correlate_except(JobRow)
        .scalar_subquery()
    )


class RejectedRow(Table):
    """A record that a job set aside; `position` counts the job's records from 0."""

    __tablename__ = "roost_rejected"
    __table_args__ = (UniqueConstraint("job_id", "position"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("roost_jobs.id"))
    position: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)


class LiveWriteRow(Table):
    """A key that was written or deleted through the endpoint while a deployment was being built.

    Backfill leaves these keys alone: what it would write is older.
    """

    __tablename__ = "roost_live_writes"

    deployment_id: Mapped[int] = mapped_column(ForeignKey("roost_deployments.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(512), primary_key=True)


class LiveTestRow(Table):
    """A live test of a champion against challengers, which are its arms; its outcomes are events.

    `configuration` holds what the method needs beside the columns, as JSON.
    """

    __tablename__ = "roost_live_tests"

    id: Mapped[int] = mapped_column(primary_key=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("roost_endpoints.id"), index=True)
    champion_id: Mapped[int] = mapped_column(ForeignKey("roost_deployments.id"))
    winner_id: Mapped[int | None] = mapped_column(Integer)
    method: Mapped[str] = mapped_column(String(20))
    max_queries: Mapped[int | None] = mapped_column(Integer)
    seed: Mapped[int] = mapped_column(BigInteger)
    alpha: Mapped[float]
    configuration: Mapped[str] = mapped_column(Text, default="{}")
    state: Mapped[str] = mapped_column(String(20))
    decision: Mapped[str | None] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[str] = mapped_column(String(32))
    ended_at: Mapped[str | None] = mapped_column(String(32))


class LiveTestArmRow(Table):
    """A deployment that takes part in a live test; the champion has the position 0."""

    __tablename__ = "roost_live_test_arms"

    test_id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    deployment_id: Mapped[int] = mapped_column(ForeignKey("roost_deployments.id"))
    weight: Mapped[float]


class EventRow(Table):
    """One thing that happened in live traffic: a search, a piece of feedback, a query's outcome.

    `metric` is the kind of feedback; `event_id` is the sender's own number of it, which counts once.
    `score` is the distance of a search's first result.
    """

    __tablename__ = "roost_events"
    __table_args__ = (
        Index("roost_events_test", "test_id", "kind"),
        Index("roost_events_event_id", "event_id", unique=True),
        Index("roost_events_time", "endpoint", "at"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    at: Mapped[str] = mapped_column(String(32))
    endpoint: Mapped[str] = mapped_column(String(100))
    deployment: Mapped[str] = mapped_column(String(100))
    query_id: Mapped[str] = mapped_column(String(40), index=True)
    test_id: Mapped[int | None] = mapped_column(Integer)
    actor: Mapped[str | None] = mapped_column(String(255))
    latency_ms: Mapped[float | None]
    item: Mapped[str | None] = mapped_column(Text)
    metric: Mapped[str | None] = mapped_column(String(50))
    value: Mapped[str | None] = mapped_column(Text)
    event_id: Mapped[str | None] = mapped_column(String(64))
    n_results: Mapped[int | None] = mapped_column(Integer)
    score: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)


class LedgerRow(Table):
    """One entry of the ledger; see `roost.lifecycle.ledger`."""

    __tablename__ = "roost_ledger"

    seq: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(40))
    endpoint: Mapped[str | None] = mapped_column(String(100), index=True)
    subject: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(Text)
    evidence: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class LedgerHeadRow(Table):
    """The last entry of the ledger, kept apart so that a cut tail is seen."""

    __tablename__ = "roost_ledger_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
