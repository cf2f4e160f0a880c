"""Keys that come more than once in the records of a backfill, of which one record only could be stored."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from roost.errors import InvalidData
from roost.lifecycle.backfill.batches import Batch
from roost.lifecycle.backfill.sources import Records, Source

N_NAMED = 5
MAX_LOOKED_AT = 5_000_000
"""Records in which a key that comes again is looked for; their keys are held in memory meanwhile."""


def check_keys(batch: Batch) -> None:
    """Check that no two records of a batch have one key.

    Raises: InvalidData: two have; the message names the key.
    """
    seen: set[str] = set()
    for position in batch.kept:
        key = batch.key_text(position)
        if key in seen:
            raise InvalidData(f"two records have the key {key!r}, of which one alone could be stored: keys are unique")
        seen.add(key)


def repeated_keys(source: Records, key: str) -> str:
    """Say in words which keys come more than once in the records of a job, by reading them again.

    Args:
        key: the name of the primary key.
    """
    if not isinstance(source, (Source, Sequence)):
        return "there are records with the same key, which cannot be named because the records can be read only once"
    records = source.records() if isinstance(source, Source) else iter(source)
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for record in islice(records, MAX_LOOKED_AT):
        found = str(record.get(key))
        if found in seen and record.get(key) is not None:
            repeated[found] = None
            if len(repeated) == N_NAMED:
                break
        seen.add(found)
    if not repeated:
        return ""
    return f"there are records with the same key, for example {', '.join(repeated)}: keys are unique"
