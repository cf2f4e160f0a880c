"""Where the records of a backfill come from.

A source can be read again from where a job stopped, without reading what was done. Any other iterable of
records works too; it is read again from its beginning, and its keys are checked against those that were taken.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

from roost.errors import InvalidArgument
from roost.lifecycle.backfill.batches import Key, Record
from roost.lifecycle.deployments.space import CONTENT
from roost.lifecycle.ledger import canonical_json


class Source(ABC):
    """Records in a fixed order, which can be read from any place on.

    A record is a dictionary with the endpoint's key, `content` for the model, and what is to be stored.
    """

    @property
    @abstractmethod
    def n_records(self) -> int | None:
        """How many records there are; None where that is not known."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A digest by which a resumed job knows its source again, with its method before it, as in `xxh3:1f...`."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what the job's request records of the source, as JSON values; nothing secret."""

    @abstractmethod
    def records(self, n_done: int = 0, last_key: Key | None = None) -> Iterator[Record]:
        """Give the records that follow what was taken.

        Args:
            n_done: how many were taken already.
            last_key: the key of the last of them.
        """


Records: TypeAlias = Iterable[Record] | Source


class ArraySource(Source):
    """Arrays, or the columns of a pandas frame: row i of each belongs to record i.

    ArraySource(images, keys=range(60_000), label=labels)
    ArraySource(frame["text"], keys=frame["id"], year=frame["year"])
    """

    def __init__(
        self,
        content: npt.ArrayLike | Sequence[Any],
        keys: npt.ArrayLike | Sequence[Any],
        *,
        key: str = "id",
        **columns: npt.ArrayLike | Sequence[Any],
    ) -> None:
        """Hold the arrays; they are not copied.

        Args:
            content: (n, ...) what goes to the model.
            keys: (n,) the primary keys, integers or text.
            key: the name of the endpoint's key.
            columns: (n,) each, stored beside the vector under their names.
        Raises: InvalidArgument: they are not equally long.
        """
        self._content = np.asarray(content)
        self._columns = {key: np.asarray(keys), **{name: np.asarray(column) for name, column in columns.items()}}
        for name, column in self._columns.items():
            if len(column) != len(self._content):
                raise InvalidArgument(f"column {name!r} has {len(column)} rows and the content {len(self._content)}")

    @property
    def n_records(self) -> int:
        return len(self._content)

    @property
    def digest(self) -> str:
        found = xxhash.xxh3_128()  # it tells records apart, and is no seal
        for array in (self._content, *self._columns.values()):
            found.update(f"{array.dtype} {array.shape}".encode())
            found.update(repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).data)
        return f"xxh3:{found.hexdigest()}"

    def describe(self) -> dict[str, Any]:
        shape = " x ".join(str(n) for n in self._content.shape)
        return {"kind": "arrays", "content": f"{self._content.dtype} {shape}", "columns": sorted(self._columns)}

    def records(self, n_done: int = 0, last_key: Key | None = None) -> Iterator[Record]:
        for start in range(n_done, len(self._content), _ROWS):
            rows = slice(start, start + _ROWS)
            columns = {name: column[rows].tolist() for name, column in self._columns.items()}
            for position, content in enumerate(self._content[rows]):
                yield {CONTENT: content, **{name: values[position] for name, values in columns.items()}}


_ROWS = 1_024
"""Rows whose columns are turned into Python values at once."""


def check_records(source: object) -> None:
    """Raise InvalidArgument for what is no source of records, as far as that shows without reading it."""
    if isinstance(source, Source):
        return
    is_array = isinstance(source, np.ndarray)
    is_many = isinstance(source, Iterable) and not isinstance(source, (str, bytes, Mapping)) and not is_array
    first = next(iter(source), None) if isinstance(source, (list, tuple)) else None
    if is_many and (first is None or isinstance(first, Mapping)):
        return
    wrong = type(source if first is None else first).__name__
    raise InvalidArgument(
        f"records are dictionaries with a key and {CONTENT!r}, not {wrong}: give a list of them, or "
        "ArraySource(contents, keys=...) for arrays"
    )


def request_of(source: Records) -> Mapping[str, Any]:
    """Return what a job records of where its records come from."""
    if isinstance(source, Source):
        return {**source.describe(), "digest": source.digest}
    return {"kind": "iterable", "type": type(source).__name__}


def length_of(source: Records) -> int | None:
    """Return how many records there are; None where that is not known."""
    if isinstance(source, Source):
        return source.n_records
    return len(source) if isinstance(source, Sequence) else None


def digest_of(description: Mapping[str, Any]) -> str:
    """Return a digest of JSON values."""
    return f"sha256:{hashlib.sha256(canonical_json(dict(description)).encode()).hexdigest()}"
