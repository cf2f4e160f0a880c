"""Tables of retraining. What a plan did is kept as jobs of the kind `retrain`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from roost.lifecycle.store.tables import Table


class RetrainingPlanRow(Table):
    """How and when a model is trained again.

    `job_id` is the job that is running now, or ran last. `n_rows` is how many rows the endpoint had
    when it began. `checked_at` is until when the schedule was looked at.
    """

    __tablename__ = "roost_retraining_plans"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("roost_endpoints.id"))
    configuration: Mapped[str] = mapped_column(Text)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[str] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(String(255))
    checked_at: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[str | None] = mapped_column(String(32))
    n_rows: Mapped[int | None] = mapped_column(BigInteger)
    job_id: Mapped[int | None] = mapped_column(Integer)
