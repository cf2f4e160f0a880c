"""A sealed segment: immutable columns on disk, opened and verified when first touched."""

from __future__ import annotations

import dataclasses
import logging
import mmap
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from roost.engine.columns import Bytes, FloatArray, ScalarIndex, StoredVectors, VectorArray
from roost.engine.file_map import advise, map_file
from roost.engine.index.base import VectorIndex
from roost.engine.index.exact import inverse_norms
from roost.engine.index.registry import check_definition, resolve_index, resolve_params
from roost.engine.index.sketch import Sketch
from roost.engine.index.sparse_rows import sparse_column
from roost.engine.keys import KeyArray, KeyLookup, key_array
from roost.engine.scalar.built import load_scalar_index
from roost.engine.scalar.types import check_scalar_index
from roost.engine.schema import Field, Schema
from roost.engine.storage.column_files import (
    FIELDS_FILE,
    map_vectors,
    read_scalars,
    read_vectors,
    vectors_file,
    verified_vectors,
)
from roost.engine.storage.durable import FileRecord, digest_pieces, is_as_written, storage_errors, verify
from roost.engine.storage.large_pages import Unwanted, read_in_large_pages
from roost.engine.storage.vector_file import VectorFile
from roost.errors import Corruption, StorageFailure

VERIFIED_LATER_FROM: Final = 256 << 20
"""Bytes of a file that is used before it is verified, where the system says that it is as it was written: reading all
of it takes longer than anybody waits for a first answer."""

VERIFIED_AFTER_S: Final = 2.0
"""Which leaves the disk to the first searches."""

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """The definition of an index on a field.

    Attributes:
        index_type: as the user gave it, for example "HNSW" or "AUTOINDEX".
        metric: empty for an index on a scalar field.
        params: build parameters, for example {"M": 16}.
        index_id: unique in the database; a dropped and remade index has a new one.
    """

    field: str
    name: str
    index_type: str
    metric: str
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    index_id: int = 0

    @property
    def is_scalar(self) -> bool:
        """Whether it is on a scalar field."""
        return not self.metric

    def check(self, schema: Schema) -> None:
        """Raise InvalidArgument where the type, the metric or a parameter is not allowed on the field."""
        field = schema.field(self.field)
        if self.is_scalar:
            check_scalar_index(field, self.index_type, self.params)
        else:
            check_definition(field, self.index_type, self.metric, self.params)


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """What the manifest knows of a segment.

    Attributes:
        files: the column files.
        indexes: index id to the index's file; an index that is not built yet is not in it.
        log_seq: the last record of the collection's log when the segment was named; its rows and their deletes are
            newer than that record and those before it.
        sketches: index id to the file of the sketch that its searches use, likewise.
        partition_id: the partition that all live rows are of; None where they are of several, or were not looked at.
        n_largest: live rows of the partition that had most when they were counted; None where they never were.
    """

    segment_id: int
    collection_id: int
    n_rows: int
    files: tuple[FileRecord, ...]
    indexes: dict[int, FileRecord]
    log_seq: int = 0
    sketches: dict[int, FileRecord] = dataclasses.field(default_factory=dict)
    partition_id: int | None = None
    n_largest: int | None = None

    def to_document(self) -> dict[str, Any]:
        return {
            "collection": self.collection_id,
            "n_rows": self.n_rows,
            "files": [asdict(f) for f in self.files],
            "indexes": {str(i): asdict(f) for i, f in self.indexes.items()},
            "log_seq": self.log_seq,
            "sketches": {str(i): asdict(f) for i, f in self.sketches.items()},
            "partition": self.partition_id,
            "n_largest": self.n_largest,
        }

    @classmethod
    def from_document(cls, segment_id: int, document: dict[str, Any]) -> SegmentRecord:
        return cls(
            segment_id,
            document["collection"],
            document["n_rows"],
            tuple(FileRecord(**f) for f in document["files"]),
            {int(i): FileRecord(**f) for i, f in document["indexes"].items()},
            document.get("log_seq", 0),
            {int(i): FileRecord(**f) for i, f in document.get("sketches", {}).items()},
            document.get("partition"),
            document.get("n_largest"),
        )

    @property
    def size_bytes(self) -> int:
        return sum(f.size_bytes for f in self.files)

    @property
    def all_files(self) -> tuple[FileRecord, ...]:
        """The column files and what was built of them."""
        return (*self.files, *self.indexes.values(), *self.sketches.values())

    def file(self, name: str) -> FileRecord:
        return next(f for f in self.files if f.name == name)


def _is_verified_later(path: Path, record: FileRecord) -> bool:
    return record.size_bytes >= VERIFIED_LATER_FROM and is_as_written(path, record)


class Segment:
    """The columns of a sealed segment. Any thread may read; nothing in it changes.

    Files are checked against their checksums and mapped when they are first needed.
    Raises (from every reading method): Corruption: a file is damaged or missing.
    """

    def __init__(self, directory: Path, record: SegmentRecord, schema: Schema) -> None:
        self.directory = directory
        self.record = record
        self.schema = schema
        self.memo: MutableMapping[Hashable, Any] = {}
        self._opening = threading.RLock()
        self._held: dict[Hashable, Any] = {}

    @property
    def segment_id(self) -> int:
        return self.record.segment_id

    @property
    def n_rows(self) -> int:
        return self.record.n_rows

    @property
    def scalars(self) -> pa.RecordBatch:
        """Every scalar column, the hidden ones included."""
        found: pa.RecordBatch = self._once("scalars", self._read_scalars)
        return found

    def scalar(self, name: str) -> pa.Array:
        return self.scalars.column(name)

    def vectors(self, name: str) -> VectorArray:
        """Return the vectors of a field as they are stored, mapped into memory."""
        found: VectorArray = self._once(("vectors", name), lambda: self._read_vectors(self.schema.field(name)))
        return found

    def hold_vectors(self, name: str) -> None:
        """See to it that the vectors of a field can be read when their file is removed.

        They are verified now, or where that takes long and the system says that they are as written, when they are
        first read.
        """
        field = self.schema.field(name)
        record = self.record.file(vectors_file(field.field_id)) if field.is_matrix else None
        if record is None or not _is_verified_later(self.directory / record.name, record):
            self.vectors(name)
        else:
            self._once(("content", name), lambda: map_vectors(self.directory, record))

    def vector_file(self, name: str) -> VectorFile:
        """Return the vectors of a field as they are stored, left on disk; the file stays open."""
        found: VectorFile = self._once(("file", name), lambda: self._open_vectors(name))
        return found

    def inverse_norms(self, name: str) -> FloatArray:
        """Return one over the Euclidean length of each vector ((n_rows,) float32)."""
        found: FloatArray = self._once(("norms", name), lambda: inverse_norms(self._held_vectors(name)))
        return found

    @property
    def key_column(self) -> KeyArray:
        """The primary key of each row."""
        found: KeyArray = self._once("key_column", lambda: key_array(self.scalar(self.schema.primary.name)))
        return found

    @property
    def keys(self) -> KeyLookup:
        """The rows by primary key."""
        found: KeyLookup = self._once("keys", lambda: KeyLookup(self.scalar(self.schema.primary.name)))
        return found

    def close(self) -> None:
        """Let go of what was opened and computed; what is needed again is opened again."""
        self._held = {}
        self.memo = {}

    def _once(self, what: Hashable, make: Callable[[], Any]) -> Any:
        held = self._held
        found = held.get(what)
        if found is None:
            with self._opening:
                found = held.get(what)
                if found is None:
                    found = held[what] = make()
        return found

    def _read_scalars(self) -> pa.RecordBatch:
        return read_scalars(self.directory, self.record.file(FIELDS_FILE))

    def _read_vectors(self, field: Field) -> VectorArray:
        if not field.is_matrix:
            return sparse_column(self.scalar(field.name))
        record, content = self.record.file(vectors_file(field.field_id)), self._held.get(("content", field.name))
        if content is not None:
            return verified_vectors(content, self.directory, record)
        return read_vectors(self.directory, record)

    def _open_vectors(self, name: str) -> VectorFile:
        record = self.record.file(vectors_file(self.schema.field(name).field_id))
        if ("vectors", name) not in self._held:
            verify(self.directory / record.name, record)
        return VectorFile(self.directory / record.name)

    def _held_vectors(self, name: str) -> StoredVectors:
        """Return vectors for one reading of all of them, which neither maps them nor leaves a file open."""
        for held in (("file", name), ("vectors", name)):
            if held in self._held:
                found: StoredVectors = self._held[held]
                return found
        return self.vectors(name) if ("content", name) in self._held else self._open_vectors(name)


class Derived(ABC, Generic[_T]):
    """What was built of a segment's columns and lies in a file; opened and verified when first used.

    Attributes:
        is_damaged: its file was found to be damaged or missing: searches do without, and upkeep builds it again from
            the segment's columns.
        on_damage: called when that is found.
    """

    without: ClassVar[str]
    """What happens while it is damaged."""

    def __init__(self, path: Path, record: FileRecord) -> None:
        self.path = path
        self.record = record
        self.is_damaged = False
        self.on_damage: Callable[[], None] | None = None
        self._opened: _T | None = None
        self._opening = threading.Lock()

    def usable(self) -> _T | None:
        """Return what the file holds; None where it is damaged."""
        opened = self._opened
        if opened is None and not self.is_damaged:
            with self._opening:
                if self._opened is None and not self.is_damaged:
                    self._open()
                opened = self._opened
        return opened

    def close(self) -> None:
        """Let go of what was opened; what is needed again is opened again."""
        self._opened = None

    def settle(self) -> None:
        """Return when what is open is verified, or found to be damaged."""

    @abstractmethod
    def _load(self) -> _T:
        """Return what the file holds, verified. Raises: Corruption: it is damaged, or missing."""

    def _open(self) -> None:
        try:
            self._opened = self._load()
        except Corruption as error:
            self._give_up(error)

    def _give_up(self, error: Corruption) -> None:
        self.is_damaged = True
        _log.warning("%s; %s until it is built again", error.message.partition(";")[0], self.without)
        if self.on_damage is not None:
            self.on_damage()


class SegmentSketch(Derived[Sketch]):
    """The sketch of a segment's vectors, for the searches of one index."""

    without: ClassVar[str] = "searches are slower"

    def __init__(self, path: Path, record: FileRecord, spec: IndexSpec, opened: Sketch | None = None) -> None:
        """Name the file.

        Args:
            opened: what was just written to it, to be used as it is.
        """
        super().__init__(path, record)
        self.spec = spec
        self._opened = opened

    def _load(self) -> Sketch:
        verify(self.path, self.record)
        return Sketch.load(self.path, self.spec.metric)


class SegmentIndex(Derived[VectorIndex]):
    """A built index of a segment."""

    without: ClassVar[str] = "its rows are compared one by one"

    def __init__(self, path: Path, record: FileRecord, spec: IndexSpec) -> None:
        super().__init__(path, record)
        self.spec = spec
        self._unverified: tuple[VectorIndex, Bytes] | None = None
        self._is_awaited = threading.Event()
        self._verifying: threading.Thread | None = None
        self._failure: Exception | None = None
        self._swapping = threading.Lock()

    def _open(self) -> None:
        super()._open()
        if self._unverified is None:
            return
        self._is_awaited = threading.Event()
        given = weakref.ref(self), self._is_awaited
        try:
            verifying = threading.Thread(target=_verify_later, args=given, name="roost-verify", daemon=True)
            verifying.start()
            self._verifying = verifying
        except RuntimeError:  # there are as many threads as the system gives
            self._is_awaited.set()
            _verify_later(*given)

    def _load(self) -> VectorIndex:
        kind = resolve_index(self.spec.index_type)
        if not kind.in_place or not _is_verified_later(self.path, self.record):
            return _verified_index(self.path, self.record, self.spec)
        with storage_errors(self.path):
            content = map_file(self.path, self.record.size_bytes)
            params = resolve_params(self.spec.index_type, self.spec.params)
            index = kind.load_from(content, self.path, self.spec.metric, params)
            advise(content, mmap.MADV_RANDOM)  # what loading reads lies together, what searches read does not
        self._unverified = index, content
        return index

    def _replace(self, unverified: VectorIndex, verified: VectorIndex | None, problem: Exception | None) -> None:
        """Put the verified index in the place of the one that is searched meanwhile, unless that was closed."""
        with self._swapping:
            if self._opened is not unverified:
                return
            self.is_damaged = isinstance(problem, Corruption)
            self._failure = None if self.is_damaged else problem
            self._opened, self._unverified = verified, None
        if isinstance(problem, Corruption):
            self._give_up(problem)
        elif problem is not None:
            _log.warning("%s could not be verified, and is opened again when it is needed: %s", self.path, problem)

    def close(self) -> None:
        with self._swapping:
            self._opened = self._unverified = None
        self._is_awaited.set()

    def settle(self) -> None:
        with self._opening:
            verifying = self._verifying
        self._is_awaited.set()
        if verifying is not None:
            verifying.join()
        with self._swapping:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def _verified_index(
    path: Path,
    record: FileRecord,
    spec: IndexSpec,
    mapped: Bytes | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> VectorIndex:
    """Return the index that a file holds. Raises: Corruption, StorageFailure; Unwanted, as `read_in_large_pages`."""
    kind, params = resolve_index(spec.index_type), resolve_params(spec.index_type, spec.params)
    content = read_in_large_pages(path, record, mapped, is_wanted) if kind.in_place else None
    if content is not None:
        return kind.load_from(content, path, spec.metric, params)
    verify(path, record)
    return kind.load(path, spec.metric, params, mmap=True)


def _verify_later(ref: weakref.ref[SegmentIndex], is_awaited: threading.Event) -> None:
    """Verify the index that is searched meanwhile; what nobody holds or wants any more is read no further."""
    is_awaited.wait(VERIFIED_AFTER_S)
    held = ref()
    opened = None if held is None else held._unverified
    if held is None or opened is None:
        return
    (index, content), path, record, spec = opened, held.path, held.record, held.spec
    del held, opened

    def is_wanted() -> bool:
        held = ref()
        return held is not None and held._opened is index

    verified: VectorIndex | None = None
    problem: Exception | None = None
    try:
        verified = _verified_index(path, record, spec, content, is_wanted)
    except Unwanted:
        return
    except Corruption as error:
        # A writer may have removed the file of one who only reads; what is mapped stays.
        if path.exists() or digest_pieces(len(content), lambda start, end: content[start:end].data) != record.digest:
            problem = error
        else:
            verified = index
    except (StorageFailure, MemoryError) as error:
        problem = error
    if (held := ref()) is not None:
        held._replace(index, verified, problem)


class SegmentScalarIndex(Derived[ScalarIndex]):
    """A built index of a segment on a scalar field."""

    without: ClassVar[str] = "filters read the field's values instead"

    def __init__(self, path: Path, record: FileRecord, spec: IndexSpec) -> None:
        super().__init__(path, record)
        self.spec = spec

    def _load(self) -> ScalarIndex:
        verify(self.path, self.record)
        return load_scalar_index(self.path)


StoredIndex: TypeAlias = SegmentIndex | SegmentScalarIndex


def pack_bitmap(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> bytes:
    """Return a mask as bits, little-endian within a byte."""
    return np.packbits(mask, bitorder="little").tobytes()


def unpack_bitmap(body: bytes, n_rows: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the mask that `pack_bitmap` packed."""
    bits = np.unpackbits(np.frombuffer(body, dtype=np.uint8), count=n_rows, bitorder="little")
    return bits.astype(bool)
