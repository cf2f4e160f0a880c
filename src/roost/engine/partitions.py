"""What the properties of a collection say of its partitions: whether they are kept apart, and which are released."""

from __future__ import annotations

from typing import Any, Final

from roost.engine.records import CollectionRecord
from roost.errors import InvalidArgument

ISOLATION_PROPERTY: Final = "partition.isolation"
"""The property of a collection that says whether rows of different partitions lie in different segments."""

RELEASED_PROPERTY: Final = "roost.released_partitions"
"""The property that lists by name the partitions of a loaded collection that were released."""

_ANSWERS: Final = {"true": True, "false": False}


def parse_isolation(value: object) -> bool:
    """Return what the property says. Raises: InvalidArgument: it is neither true nor false."""
    answer = value if isinstance(value, bool) else _ANSWERS.get(value.lower()) if isinstance(value, str) else None
    if answer is None:
        raise InvalidArgument(f"{ISOLATION_PROPERTY}={value!r} is not allowed: it is true or false")
    return answer


def isolates(record: CollectionRecord) -> bool:
    """Whether partitions are kept apart; what was stored under the name before it had a meaning is no yes."""
    try:
        return parse_isolation(record.properties.get(ISOLATION_PROPERTY, False))
    except InvalidArgument:
        return False


def released_names(record: CollectionRecord) -> list[str]:
    """Return the partitions that were released one by one: none where the whole collection is."""
    names: list[str] = record.properties.get(RELEASED_PROPERTY, [])
    return names


def released_ids(record: CollectionRecord) -> frozenset[int]:
    """Return the same by their ids."""
    return frozenset(record.partitions[name] for name in released_names(record) if name in record.partitions)


def loaded_ids(record: CollectionRecord) -> frozenset[int]:
    """Return the partitions that can be searched."""
    return frozenset(record.partitions.values()) - released_ids(record) if record.loaded else frozenset()


def with_released(properties: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the properties with these partitions as the released ones."""
    kept = {k: v for k, v in properties.items() if k != RELEASED_PROPERTY}
    return {**kept, RELEASED_PROPERTY: names} if names else kept
