"""What an endpoint does by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roost.errors import InvalidArgument
from roost.lifecycle.names import PRODUCTION
from roost.lifecycle.store.tables import EndpointRow

AUTOMATIC = "automatic_promotion"
"""What a stored policy calls `promote_winners`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an endpoint does by itself.

    Attributes:
        keep_retired: of how many retired deployments it keeps the vectors; None for all, until they are purged.
        probation: what is watched since the last promotion; None when nothing is.
        promote_winners: whether live tests may promote the winner by themselves.
    """

    keep_retired: int | None = None
    probation: Mapping[str, Any] | None = None
    promote_winners: bool = False


def policy_of(row: EndpointRow) -> Policy:
    """Return the policy that an endpoint's row holds; what other parts keep in it is left alone."""
    stored = json.loads(row.policy or "{}")
    may_promote = stored.get(AUTOMATIC, row.environment != PRODUCTION)
    return Policy(stored.get("keep_retired"), stored.get("probation"), may_promote)


def check_keep_retired(n_kept: int | None) -> None:
    """Raise InvalidArgument for a number of retired deployments that cannot be kept."""
    if n_kept is not None and (isinstance(n_kept, bool) or not isinstance(n_kept, int) or n_kept < 0):
        raise InvalidArgument(f"keep_retired must be a number of deployments, or None for all; it is {n_kept!r}")
