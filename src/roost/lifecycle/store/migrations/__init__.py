"""Alembic migrations of the lifecycle's tables."""
