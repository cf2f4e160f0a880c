"""Whether an actor may change something now. Every change of state asks inside its own transaction."""

from __future__ import annotations

from sqlalchemy.orm import Session


def check(session: Session, actor: str, action: str, environment: str | None, subject: str) -> None:
    """Let a change pass, or refuse it.

    Args:
        action: the word under which the ledger will record it, as in "promote".
        environment: of the endpoint; None for what belongs to none.
        subject: what is changed, as in "image-search/digits-v2".
    Raises:
        PermissionDenied: the actor's roles do not allow the action there.
        ApprovalRequired: the action needs an approval there, and there is none that is good.
    """
