"""Results of the lifecycle as plain values: what the command line prints as JSON and what REST answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any, hidden: Mapping[type, Set[str]] | None = None) -> Any:
    """Return a result as values that JSON can hold.

    A dataclass becomes a dictionary of its public fields, unless it says by `to_dict` what it is. Numbers that
    are not finite become None.

    Args:
        hidden: fields of dataclasses that are left out beside those that are not public, by class.
    Raises: TypeError: the value is of a type that has no plain form.
    """
    if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain(value.value, hidden)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain(value.item(), hidden)
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), hidden)
    if isinstance(value, Mapping):
        return {str(key): plain(inner, hidden) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner, hidden) for inner in value]
    if isinstance(value, (date, Path)):
        return str(value) if isinstance(value, Path) else value.isoformat()
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        return plain(to_dict(), hidden)
    if is_dataclass(value) and not isinstance(value, type):
        left_out = (hidden or {}).get(type(value), frozenset())
        names = (field.name for field in fields(value) if not field.name.startswith("_"))
        return {name: plain(getattr(value, name), hidden) for name in names if name not in left_out}
    raise TypeError(f"{type(value).__name__} has no plain form")
