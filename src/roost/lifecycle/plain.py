"""Results of the lifecycle as plain values: what the command line prints as JSON and what REST answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a result as values that JSON can hold.

    A dataclass becomes a dictionary of its public fields, unless it says by `to_dict` what it is. Numbers that
    are not finite become None.

    Raises: TypeError: the value is of a type that has no plain form.
    """
    if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    if isinstance(value, (date, Path)):
        return str(value) if isinstance(value, Path) else value.isoformat()
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        return plain(to_dict())
    if is_dataclass(value) and not isinstance(value, type):
        shown = (field.name for field in fields(value) if not field.name.startswith("_"))
        return {name: plain(getattr(value, name)) for name in shown}
    raise TypeError(f"{type(value).__name__} has no plain form")
