"""The tables of monitoring."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from roost.lifecycle.store.tables import BigKey, Table


class MonitorRow(Table):
    """An endpoint that is watched.

    `configuration` is what `watch` was asked for; secrets are not in it. `holder` is the process that judges the
    rules until `held_until`; `judged_until` is the end of the last window that was judged, and `progress` how long
    each rule has been broken.
    """

    __tablename__ = "roost_monitors"

    id: Mapped[int] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(String(160), unique=True)
    configuration: Mapped[str] = mapped_column(Text)
    holder: Mapped[str | None] = mapped_column(String(255))
    held_until: Mapped[str | None] = mapped_column(String(32))
    judged_until: Mapped[str] = mapped_column(String(32))
    progress: Mapped[str] = mapped_column(Text, default="{}")
    created_at: Mapped[str] = mapped_column(String(32))


class MonitorWindowRow(Table):
    """What one process saw of one deployment in one window of time; `process` is "merged" after compaction."""

    __tablename__ = "roost_monitor_windows"
    __table_args__ = (Index("roost_monitor_windows_time", "endpoint", "started_at"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    endpoint: Mapped[str] = mapped_column(String(160))
    deployment: Mapped[str] = mapped_column(String(100))
    process: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[str] = mapped_column(String(32))
    ended_at: Mapped[str] = mapped_column(String(32))
    statistics: Mapped[str] = mapped_column(Text)


class BaselineRow(Table):
    """A reference sample; the last one of its kind counts. `file` is named by the digest of its content."""

    __tablename__ = "roost_monitor_baselines"
    __table_args__ = (Index("roost_monitor_baselines_kind", "endpoint", "deployment", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(String(160))
    deployment: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20))
    origin: Mapped[str] = mapped_column(String(40))
    digest: Mapped[str] = mapped_column(String(80))
    n_rows: Mapped[int] = mapped_column(Integer)
    dim: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[str] = mapped_column(String(32))


class AlertRow(Table):
    """A rule that was broken; `deliveries` says whom it was told, or is to be told yet."""

    __tablename__ = "roost_alerts"
    __table_args__ = (Index("roost_alerts_rule", "endpoint", "rule", "state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(String(160))
    deployment: Mapped[str] = mapped_column(String(100))
    rule: Mapped[str] = mapped_column(String(100))
    severity: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20), index=True)
    metric: Mapped[str] = mapped_column(String(100))
    value: Mapped[float]
    message: Mapped[str] = mapped_column(Text)
    deliveries: Mapped[str] = mapped_column(Text, default="[]")
    n_undelivered: Mapped[int] = mapped_column(Integer, default=0)
    notified_at: Mapped[str | None] = mapped_column(String(32))
    opened_at: Mapped[str] = mapped_column(String(32))
    resolved_at: Mapped[str | None] = mapped_column(String(32))


class MonitorSettingRow(Table):
    """A setting of monitoring that holds for the whole workspace."""

    __tablename__ = "roost_monitor_settings"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    value: Mapped[int | None] = mapped_column(BigInteger)
