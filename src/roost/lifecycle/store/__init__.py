"""What the lifecycle remembers: one SQL database, shared with MLflow's tables."""

from roost.lifecycle.store import monitoring_tables
from roost.lifecycle.store.database import Store

__all__ = ["Store", "monitoring_tables"]
