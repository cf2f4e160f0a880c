"""The collection that is being made for a deployment, so that one that was left behind is found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("roost_endpoints") as endpoints:
        endpoints.add_column(sa.Column("planned_collection", sa.String(length=255), nullable=True))
