"""Tables of governance."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "roost_roles",
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("environment", sa.String(length=50), nullable=False),
        sa.Column("granted_by", sa.String(length=255), nullable=False),
        sa.Column("granted_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("principal", "role", "environment"),
    )
    op.create_table(
        "roost_approval_rules",
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("environment", sa.String(length=50), nullable=False),
        sa.Column("n_approvals", sa.Integer(), nullable=False),
        sa.Column("by_others", sa.Boolean(), nullable=False),
        sa.Column("expires_hours", sa.Double(), nullable=True),
        sa.Column("required_by", sa.String(length=255), nullable=False),
        sa.Column("required_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("action", "environment"),
    )
    _requests()
    op.create_table(
        "roost_comments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_roost_comments_subject"), "roost_comments", ["subject"], unique=False)
    op.create_table(
        "roost_data_versions",
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("n_rows", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "roost_model_data",
        sa.Column("model_name", sa.String(length=100), nullable=False),
        sa.Column("model_version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["roost_data_versions.digest"]),
        sa.PrimaryKeyConstraint("model_name", "model_version", "digest", "role"),
    )


def _requests() -> None:
    op.create_table(
        "roost_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("environment", sa.String(length=50), nullable=True),
        sa.Column("binding", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.String(length=255), nullable=True),
        sa.Column("requested_by", sa.String(length=255), nullable=False),
        sa.Column("requested_at", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("closed_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("roost_requests_subject", "roost_requests", ["subject", "action"], unique=False)
    op.create_table(
        "roost_decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["roost_requests.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("request_id", "actor"),
    )
