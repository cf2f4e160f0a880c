"""A process that follows a writer. Run as `python follow_reader.py DIRECTORY SECONDS_AT_MOST`.

It prints `ready`, then reads without pause and checks what it sees, until the collection `end` exists.
Every row of the collection `c` is of one generation, and generations do not go back.
"""

from __future__ import annotations

import sys

from roost.engine.database import Database
from tests.engine.model import make_schema, nearest, rows_of, vectors_of

N_KEYS = 60


def follow(database: Database) -> int:
    """Read until the writer says the end; return how many generations were seen."""
    seen: list[int] = [0]
    n_reads = 0
    while "end" not in database.list_collections("default"):
        collection = database.collection("default", "c")
        rows = rows_of(collection.query())
        assert not rows or rows.keys() == set(range(N_KEYS)), f"{len(rows)} rows"
        generations = set(rows.values())
        assert len(generations) <= 1, generations
        hits = nearest(collection, vectors_of([n_reads % N_KEYS], [n_reads]), N_KEYS)
        later = set(hits.take("g").to_pylist())
        assert sorted(hits.keys.tolist()) == list(range(N_KEYS)) or not rows
        assert len(later) <= 1, later
        for g in (*generations, *later):
            assert g >= seen[-1], "went back in time"
            seen.append(g)
        n_reads += 1
    assert database.collection("default", "end").schema == make_schema()
    return len(set(seen))


def main() -> None:
    database = Database.open(sys.argv[1], read_only=True)
    print("ready", flush=True)
    print(follow(database), flush=True)
    database.close()


if __name__ == "__main__":
    main()
