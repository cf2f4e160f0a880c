"""What the parts of a workspace share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from roost.lifecycle.recorder import Recorder
from roost.lifecycle.registry import Models
from roost.lifecycle.store import Store

if TYPE_CHECKING:
    from roost.client import Client


@dataclass(frozen=True)
class Context:
    """The open parts of a workspace, and who is acting."""

    store: Store
    vectors: Client
    models: Models
    recorder: Recorder
    actor: str
