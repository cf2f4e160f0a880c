"""Random sequences of everything that a collection can be asked, compared with a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from roost.engine.bulk import load_batch
from roost.engine.collection import Collection
from roost.engine.database import Database
from roost.engine.filter import compile_filter
from roost.engine.partitions import ISOLATION_PROPERTY, isolates
from roost.engine.records import DEFAULT_PARTITION
from roost.engine.segment import IndexSpec
from tests.engine.model import (
    brute_force,
    check_files,
    check_search,
    copy_database,
    hnsw,
    lower_thresholds,
    make_batch,
    make_schema,
    nearest,
    read_all,
    rows_of,
    stop_upkeep,
    vectors_of,
)

SETTINGS = settings(
    max_examples=50,
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
PARTITIONS = (DEFAULT_PARTITION, "left", "right")
numbers = st.integers(0, 149)
some_keys = st.one_of(
    st.lists(numbers, min_size=1, max_size=5, unique=True),
    st.tuples(numbers, st.integers(20, 70)).map(lambda pair: [(pair[0] + i) % 150 for i in range(pair[1])]),
)
filters = st.sampled_from(["g % 2 == 0", "g % 7 in [1, 3]", "g > 20 and g < 40", "not (g % 3 == 1)"])
passes = {
    "g % 2 == 0": lambda g: g % 2 == 0,
    "g % 7 in [1, 3]": lambda g: g % 7 in (1, 3),
    "g > 20 and g < 40": lambda g: 20 < g < 40,
    "not (g % 3 == 1)": lambda g: g % 3 != 1,
}


class CollectionMachine(RuleBasedStateMachine):
    """One collection beside `rows`: primary key to (g, partition)."""

    string_keys: ClassVar[bool]
    metric: ClassVar[str]
    isolates: ClassVar[bool] = False
    n_steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="roost-machine-"))
        self.n_copies = 0
        self.g = 0
        self.rows: dict[Any, tuple[int, str]] = {}
        self.database = Database.open(self.home / "0")
        schema = make_schema(self.string_keys, 2 if self.string_keys else 1)
        self.database.create_collection("default", "c", schema)
        for name in PARTITIONS[1:]:
            self.collection.create_partition(name)
        if self.isolates:
            self.keep_apart(True)

    @property
    def collection(self) -> Collection:
        return self.database.collection("default", "c")

    @property
    def model(self) -> dict[Any, int]:
        return {key: g for key, (g, _) in self.rows.items()}

    def keys(self, wanted: list[int]) -> list[Any]:
        return [f"k{n}" for n in wanted] if self.string_keys else wanted

    # Writes

    @rule(wanted=some_keys, partition=st.sampled_from(PARTITIONS))
    def insert(self, wanted: list[int], partition: str) -> None:
        self.g += 1
        keys = self.keys(wanted)
        self.collection.insert(make_batch(self.collection.schema, keys, self.g), partition)
        self.rows.update(dict.fromkeys(keys, (self.g, partition)))

    @rule(wanted=some_keys, partition=st.sampled_from(PARTITIONS))
    def load(self, wanted: list[int], partition: str) -> None:
        self.g += 1
        keys = self.keys(wanted)
        with self.collection.loading():
            load_batch(self.collection, make_batch(self.collection.schema, keys, self.g), partition)
        self.rows.update(dict.fromkeys(keys, (self.g, partition)))

    @rule(wanted=some_keys)
    def delete(self, wanted: list[int]) -> None:
        keys = self.keys(wanted)
        there = self.rows.keys() & set(keys)
        assert self.collection.delete([*keys, keys[0]]) == len(there)
        self.rows = {key: row for key, row in self.rows.items() if key not in there}

    @rule(expression=filters, partition=st.sampled_from((None, *PARTITIONS)))
    def delete_where(self, expression: str, partition: str | None) -> None:
        predicate = compile_filter(expression, self.collection.schema)
        gone = {key for key, (g, where) in self.rows.items() if passes[expression](g) and partition in (None, where)}
        partitions = None if partition is None else self.collection.partition_ids([partition])
        assert self.collection.delete_where(predicate, partitions) == len(gone)
        self.rows = {key: row for key, row in self.rows.items() if key not in gone}

    @precondition(lambda self: self.g % 5 == 4)
    @rule()
    def truncate(self) -> None:
        self.collection.truncate()
        self.rows = {}

    @precondition(lambda self: self.g % 3 == 2)
    @rule(partition=st.sampled_from(PARTITIONS[1:]))
    def drop_and_make_partition(self, partition: str) -> None:
        self.collection.drop_partition(partition)
        self.collection.create_partition(partition)
        self.rows = {key: row for key, row in self.rows.items() if row[1] != partition}

    # What must change nothing that a reader sees

    @rule()
    def flush(self) -> None:
        self.collection.flush()
        assert self.collection.contents.tail.n_rows == 0
        assert not self.collection.contents.dirty
        for part in self.collection.snapshot().parts:
            assert len(part.indexes) == (len(self.collection.record.indexes) if part.n_rows >= 24 else 0)
        if isolates(self.collection.record):
            self.check_apart()

    def check_apart(self) -> None:
        """Check that partitions with many rows have segments of their own."""
        for part in self.collection.snapshot().parts:
            ids = part.scalar("$partition").to_numpy()[slice(None) if part.dead is None else ~part.dead]
            assert part.partition_id is None or set(ids) <= {part.partition_id}
            assert part.partition_id is not None or max(np.bincount(ids), default=0) < 24

    @precondition(lambda self: self.isolates)
    @rule(wanted=st.booleans())
    def keep_apart(self, wanted: bool) -> None:
        self.collection.revise(lambda record: replace(record, properties={ISOLATION_PROPERTY: wanted}))

    @rule()
    def make_indexes(self) -> None:
        for field in self.collection.schema.vectors:
            self.collection.create_index(hnsw(field.name, self.metric))

    @rule(index_type=st.sampled_from(("STL_SORT", "BITMAP")))
    def make_scalar_index(self, index_type: str) -> None:
        held = self.collection.record.index_of("g")
        if held is None or held.index_type == index_type:
            self.collection.create_index(IndexSpec("g", "g", index_type, ""))

    @precondition(lambda self: self.collection.record.indexes)
    @rule()
    def drop_index(self) -> None:
        self.collection.drop_index(self.collection.record.indexes[0].name)

    @rule()
    def reopen(self) -> None:
        path = self.database.path
        self.database.close()
        self.database = Database.open(path)
        check_files(self.database)

    @rule()
    def reopen_a_copy(self) -> None:
        self.n_copies += 1
        with self.database._host.catalog.lock:
            copy = copy_database(self.database.path, self.home / str(self.n_copies))
        self.database.close()
        self.database = Database.open(copy)
        check_files(self.database)

    # Reads

    @rule(wanted=some_keys)
    def get(self, wanted: list[int]) -> None:
        keys = self.keys(wanted)
        expected = {key: g for key, g in self.model.items() if key in set(keys)}
        assert rows_of(self.collection.query(keys=keys)) == expected

    @rule(expression=filters, partition=st.sampled_from((None, *PARTITIONS)), number=numbers, k=st.integers(1, 30))
    def search_filtered(self, expression: str, partition: str | None, number: int, k: int) -> None:
        predicate = compile_filter(expression, self.collection.schema)
        kept = {key: g for key, (g, where) in self.rows.items() if passes[expression](g) and partition in (None, where)}
        partitions = None if partition is None else self.collection.partition_ids([partition])
        assert rows_of(self.collection.query(predicate=predicate, partitions=partitions)) == kept
        assert self.collection.count(predicate, partitions) == len(kept)
        query = vectors_of([number], [self.g])
        options = {"predicate": predicate, "partitions": partitions}
        hits = nearest(self.collection, query, k, metric=self.metric, **options)
        assert all(kept.get(key) == g for key, g in zip(hits.keys.tolist(), hits.take("g").to_pylist(), strict=True))
        np.testing.assert_allclose(hits.distances, brute_force(kept, query, k, metric=self.metric), atol=1e-5)

    @rule(number=numbers, k=st.integers(1, 200))
    def search(self, number: int, k: int) -> None:
        check_search(self.collection, self.model, vectors_of([number], [self.g]), k, self.metric)

    @invariant()
    def holds_the_rows(self) -> None:
        type(self).n_steps += 1
        assert read_all(self.collection) == self.model
        assert self.collection.n_rows == len(self.rows)

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.home)


class NumberMachine(CollectionMachine):
    string_keys = False
    metric = "L2"


class TextMachine(CollectionMachine):
    string_keys = True
    metric = "COSINE"


class ApartMachine(NumberMachine):
    isolates = True


@pytest.mark.slow
@pytest.mark.parametrize("machine", [NumberMachine, TextMachine, ApartMachine])
def test_a_collection_is_a_dictionary(machine: type[CollectionMachine], monkeypatch: pytest.MonkeyPatch) -> None:
    lower_thresholds(monkeypatch.setattr)
    stop_upkeep(monkeypatch.setattr)
    monkeypatch.setattr(machine, "n_steps", 0)
    run_state_machine_as_test(machine, settings=SETTINGS)
    assert machine.n_steps >= 1_000
