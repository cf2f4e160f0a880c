"""Tables of monitoring."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "roost_monitors",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.String(length=160), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        sa.Column("holder", sa.String(length=255), nullable=True),
        sa.Column("held_until", sa.String(length=32), nullable=True),
        sa.Column("judged_until", sa.String(length=32), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("endpoint"),
    )
    op.create_table(
        "roost_monitor_windows",
        sa.Column("id", BIG_KEY, nullable=False),
        sa.Column("endpoint", sa.String(length=160), nullable=False),
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("process", sa.String(length=255), nullable=False),
        sa.Column("started_at", sa.String(length=32), nullable=False),
        sa.Column("ended_at", sa.String(length=32), nullable=False),
        sa.Column("statistics", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("roost_monitor_windows_time", "roost_monitor_windows", ["endpoint", "started_at"], unique=False)
    op.create_table(
        "roost_monitor_baselines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.String(length=160), nullable=False),
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("origin", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    columns = ["endpoint", "deployment", "kind"]
    op.create_index("roost_monitor_baselines_kind", "roost_monitor_baselines", columns, unique=False)
    _alerts()
    op.create_table(
        "roost_monitor_settings",
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )


def _alerts() -> None:
    op.create_table(
        "roost_alerts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.String(length=160), nullable=False),
        sa.Column("deployment", sa.String(length=100), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column("severity", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("metric", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("deliveries", sa.Text(), nullable=False),
        sa.Column("n_undelivered", sa.Integer(), nullable=False),
        sa.Column("notified_at", sa.String(length=32), nullable=True),
        sa.Column("opened_at", sa.String(length=32), nullable=False),
        sa.Column("resolved_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("roost_alerts_rule", "roost_alerts", ["endpoint", "rule", "state"], unique=False)
    op.create_index(op.f("ix_roost_alerts_state"), "roost_alerts", ["state"], unique=False)
