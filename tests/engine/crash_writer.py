"""A process that forks writers, for a test that kills them. Run as `python crash_writer.py DIRECTORY`.

For each line "SEED DURABILITY" on standard input it forks a writer and prints the writer's process id, then
for each operation `start` before it and `done` after it, and `end` when the writer is gone. Operations
follow from the seed alone (`operations`), so the test knows them without being told.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from roost.engine.bulk import load_batch
from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.filter import compile_filter
from roost.engine.partitions import ISOLATION_PROPERTY
from roost.engine.records import DEFAULT_PARTITION
from roost.errors import IndexNotFound
from tests.engine.model import Key, Model, hnsw, lower_thresholds, make_batch, make_schema

N_KEYS = 160
SCHEMAS = {"numbers": make_schema(), "texts": make_schema(string_keys=True, n_vectors=2)}
PROPERTIES = {"numbers": {}, "texts": {ISOLATION_PROPERTY: True}}
_KINDS = {
    "insert": 50,
    "delete": 14,
    "delete_where": 6,
    "flush": 8,
    "create_index": 5,
    "drop_index": 2,
    "truncate": 1,
    "drop": 1,
    "insert_part": 6,
    "drop_part": 1,
    "pause": 6,
    "load": 15,
}


@dataclass(frozen=True)
class Operation:
    """One step of a writer.

    Attributes:
        g: of the rows that an insert writes; for `delete_where`, the remainder of those that go.
    """

    kind: str
    collection: str
    keys: tuple[Key, ...]
    g: int


def operations(seed: int) -> Iterator[Operation]:
    """Yield the operations of a writer, without end."""
    rng = random.Random(seed)
    g = seed * 100_000
    while True:
        g += 1
        kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
        name = rng.choice(list(SCHEMAS))
        numbers = rng.sample(range(N_KEYS), rng.choice((1, 3, 20, 60)))
        keys: list[Key] = [f"k{n}" for n in numbers] if name == "texts" else list(numbers)
        yield Operation(kind, name, tuple(keys), rng.randrange(5) if kind == "delete_where" else g)


def perform(database: Database, operation: Operation) -> None:
    """Do one operation; the collection is made first when it is not there."""
    schema = SCHEMAS[operation.collection]
    if operation.kind == "drop":
        if operation.collection in database.list_collections("default"):
            database.drop_collection("default", operation.collection)
        return
    collection = database.create_collection("default", operation.collection, schema, PROPERTIES[operation.collection])
    match operation.kind:
        case "insert":
            collection.insert(make_batch(collection.schema, operation.keys, operation.g))
        case "insert_part":
            collection.create_partition("part")
            collection.insert(make_batch(collection.schema, operation.keys, operation.g), "part")
        case "load":
            load_batch(collection, make_batch(collection.schema, operation.keys, operation.g), DEFAULT_PARTITION)
        case "drop_part":
            collection.drop_partition("part")
        case "delete":
            collection.delete(operation.keys)
        case "delete_where":
            collection.delete_where(compile_filter(f"g % 5 == {operation.g}", collection.schema))
        case "flush":
            collection.flush()
        case "truncate":
            collection.truncate()
        case _:
            _change_index(collection, operation.kind)


def _change_index(collection: Collection, kind: str) -> None:
    for field in collection.schema.vectors:
        if kind == "create_index":
            collection.create_index(hnsw(field.name))
        elif kind == "drop_index":
            try:
                collection.drop_index(field.name)
            except IndexNotFound:
                return


def apply(model: Model, parts: set[Key], operation: Operation) -> tuple[Model, set[Key]]:
    """Return the rows of the operation's collection after it, and which of them lie in the partition "part"."""
    keys = set(operation.keys)
    match operation.kind:
        case "insert" | "load":
            return {**model, **dict.fromkeys(operation.keys, operation.g)}, parts - keys
        case "insert_part":
            return {**model, **dict.fromkeys(operation.keys, operation.g)}, parts | keys
        case "drop_part":
            return {key: g for key, g in model.items() if key not in parts}, set()
        case "delete":
            return {key: g for key, g in model.items() if key not in keys}, parts - keys
        case "delete_where":
            kept = {key: g for key, g in model.items() if g % 5 != operation.g}
            return kept, parts & kept.keys()
        case "truncate" | "drop":
            return {}, set()
    return model, parts


def _write(directory: str, seed: int, durability: str) -> None:
    database = Database.open(directory, durability=durability)
    for operation in operations(seed):
        os.write(1, b"start\n")
        perform(database, operation)
        os.write(1, b"done\n")


def main() -> None:
    lower_thresholds()
    for line in sys.stdin:
        seed, durability = line.split()
        child = os.fork()
        if child == 0:
            try:
                os.write(1, b"%d\n" % os.getpid())
                _write(sys.argv[1], int(seed), durability)
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        os.write(1, b"end\n")


if __name__ == "__main__":
    main()
