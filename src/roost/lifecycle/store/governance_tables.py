"""Tables of governance: who may do what, what was asked and approved, what was said, and which data is known."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from roost.lifecycle.store.tables import Table


class RoleRow(Table):
    """A role that somebody has in an environment; `*` is every environment."""

    __tablename__ = "roost_roles"

    principal: Mapped[str] = mapped_column(String(255), primary_key=True)
    role: Mapped[str] = mapped_column(String(20), primary_key=True)
    environment: Mapped[str] = mapped_column(String(50), primary_key=True)
    granted_by: Mapped[str] = mapped_column(String(255))
    granted_at: Mapped[str] = mapped_column(String(32))


class ApprovalRuleRow(Table):
    """How many approvals an action needs in an environment."""

    __tablename__ = "roost_approval_rules"

    action: Mapped[str] = mapped_column(String(40), primary_key=True)
    environment: Mapped[str] = mapped_column(String(50), primary_key=True)
    n_approvals: Mapped[int] = mapped_column(Integer)
    by_others: Mapped[bool] = mapped_column(Boolean)
    expires_hours: Mapped[float | None]
    required_by: Mapped[str] = mapped_column(String(255))
    required_at: Mapped[str] = mapped_column(String(32))


class RequestRow(Table):
    """Somebody asks for the approval of an action, or for the review of a model version.

    `binding` is what the subject was when it was asked for: an approval of something else is none.
    """

    __tablename__ = "roost_requests"
    __table_args__ = (Index("roost_requests_subject", "subject", "action"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(255))
    environment: Mapped[str | None] = mapped_column(String(50))
    binding: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(Text)
    reviewer: Mapped[str | None] = mapped_column(String(255))
    requested_by: Mapped[str] = mapped_column(String(255))
    requested_at: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(20))
    closed_at: Mapped[str | None] = mapped_column(String(32))


class DecisionRow(Table):
    """What one person said to a request."""

    __tablename__ = "roost_decisions"
    __table_args__ = (UniqueConstraint("request_id", "actor"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("roost_requests.id"))
    actor: Mapped[str] = mapped_column(String(255))
    decision: Mapped[str] = mapped_column(String(20))
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[str] = mapped_column(String(32))


class CommentRow(Table):
    """What somebody said about a model version, a deployment or an endpoint."""

    __tablename__ = "roost_comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), index=True)
    actor: Mapped[str] = mapped_column(String(255))
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[str] = mapped_column(String(32))


class DataVersionRow(Table):
    """Data that a model was trained or measured on. `state` is good, bad or gone."""

    __tablename__ = "roost_data_versions"

    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(255))
    uri: Mapped[str] = mapped_column(Text)
    n_rows: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(20), default="good")
    reason: Mapped[str] = mapped_column(Text, default="")


class ModelDataRow(Table):
    """Which data a model version used, and what for: train, evaluation or backfill."""

    __tablename__ = "roost_model_data"

    model_name: Mapped[str] = mapped_column(String(100), primary_key=True)
    model_version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(ForeignKey("roost_data_versions.digest"), primary_key=True)
    role: Mapped[str] = mapped_column(String(20), primary_key=True)
