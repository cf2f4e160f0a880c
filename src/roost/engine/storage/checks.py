"""Checksums of the catalogue's rows, and the hash chain of a collection's log."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from roost.engine.storage.record_files import Piece

_SEQUENCE_BITS = 40


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log begins and ends. For id 0: commits, and the sum over the catalogue's rows."""

    seq: int = 0
    chain: int = 0
    base_seq: int = 0
    base_chain: int = 0

    def digest(self, head_id: int) -> int:
        return digest_of(f"{head_id}:{self.seq}:{self.chain}:{self.base_seq}:{self.base_chain}".encode())


def log_key(collection: int, seq: int) -> int:
    return (collection << _SEQUENCE_BITS) + seq


def record_of(key: int) -> tuple[int, int]:
    """Return the collection and the sequence number that a key of the log is made of."""
    return key >> _SEQUENCE_BITS, key & ((1 << _SEQUENCE_BITS) - 1)


def digest_pieces(pieces: Sequence[Piece], seed: int) -> int:
    """Return what `digest_of` returns for the pieces together."""
    digest = xxhash.xxh3_64(seed=seed)
    for piece in pieces:
        digest.update(piece)
    return _signed(digest.intdigest())


def digest_of(body: bytes, seed: int = 0) -> int:
    return _signed(xxhash.xxh3_64_intdigest(body, seed=seed))


def is_intact(body: object, seed: object, digest: object) -> bool:
    """Whether a row is as it was written; a damaged one may hold values of any type."""
    return isinstance(body, bytes) and isinstance(seed, int) and seed >= 0 and digest_of(body, seed) == digest


def link(chain: int, seq: int, digest: int) -> int:
    return _signed(xxhash.xxh3_64_intdigest(struct.pack("<qqq", chain, seq, digest)))


def _signed(value: int) -> int:
    """SQLite's integers are signed."""
    return value - (1 << 64) if value >= 1 << 63 else value
