"""Kinds and environments of endpoints, jobs of every kind, live tests of several challengers, richer events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("roost_endpoints") as endpoints:
        endpoints.add_column(sa.Column("kind", sa.String(length=20), nullable=False, server_default="search"))
        endpoints.add_column(sa.Column("task", sa.String(length=20), nullable=True))
        endpoints.add_column(
            sa.Column("environment", sa.String(length=50), nullable=False, server_default="production")
        )
        endpoints.add_column(sa.Column("owner", sa.String(length=255), nullable=True))
        endpoints.add_column(sa.Column("policy", sa.Text(), nullable=False, server_default="{}"))
    with op.batch_alter_table("roost_deployments") as deployments:
        deployments.add_column(sa.Column("configuration", sa.Text(), nullable=False, server_default="{}"))
        deployments.add_column(sa.Column("owner", sa.String(length=255), nullable=True))
    with op.batch_alter_table("roost_jobs") as jobs:
        jobs.alter_column("deployment_id", existing_type=sa.Integer(), nullable=True)
        jobs.add_column(sa.Column("endpoint_id", sa.Integer(), nullable=True))
        jobs.add_column(sa.Column("actor", sa.String(length=255), nullable=True))
        jobs.add_column(sa.Column("request", sa.Text(), nullable=False, server_default="{}"))
        jobs.add_column(sa.Column("result", sa.Text(), nullable=False, server_default="{}"))
        jobs.add_column(sa.Column("total", sa.BigInteger(), nullable=True))
        jobs.add_column(sa.Column("wanted", sa.String(length=20), nullable=False, server_default="run"))
        jobs.add_column(sa.Column("created_at", sa.String(length=32), nullable=True))
        jobs.add_column(sa.Column("worker", sa.String(length=255), nullable=True))
    _live_tests()
    with op.batch_alter_table("roost_events") as events:
        events.add_column(sa.Column("metric", sa.String(length=50), nullable=True))
        events.add_column(sa.Column("event_id", sa.String(length=64), nullable=True))
        events.add_column(sa.Column("n_results", sa.Integer(), nullable=True))
        events.add_column(sa.Column("score", sa.Double(), nullable=True))
        events.add_column(sa.Column("error", sa.Text(), nullable=True))
    op.create_index("roost_events_event_id", "roost_events", ["event_id"], unique=True)
    op.create_index("roost_events_time", "roost_events", ["endpoint", "at"], unique=False)


def _live_tests() -> None:
    op.create_table(
        "roost_live_test_arms",
        sa.Column("test_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("deployment_id", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["deployment_id"], ["roost_deployments.id"]),
        sa.PrimaryKeyConstraint("test_id", "position"),
    )
    for position, column in enumerate(("champion_id", "challenger_id")):
        op.execute(
            "INSERT INTO roost_live_test_arms (test_id, position, deployment_id, weight) "
            f"SELECT id, {position}, {column}, 0.5 FROM roost_live_tests"
        )
    challenger_keys = [
        key["name"]
        for key in sa.inspect(op.get_bind()).get_foreign_keys("roost_live_tests")
        if key["constrained_columns"] == ["challenger_id"] and key["name"]
    ]
    with op.batch_alter_table("roost_live_tests") as tests:
        for name in challenger_keys:
            tests.drop_constraint(name, type_="foreignkey")
        tests.drop_column("challenger_id")
        tests.add_column(sa.Column("configuration", sa.Text(), nullable=False, server_default="{}"))
        tests.add_column(sa.Column("winner_id", sa.Integer(), nullable=True))
        tests.add_column(sa.Column("reason", sa.Text(), nullable=False, server_default=""))
