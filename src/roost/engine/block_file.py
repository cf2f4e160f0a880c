"""A file that is written in large blocks, whatever pieces it is given in."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

BLOCK_BYTES = 2 << 20
"""The larger page of most processors. What is written in blocks of it, systems that can keep so in their cache."""

_MOST_BYTES = 512 * BLOCK_BYTES
"""Of one call: what is longer than 2 GiB the system cuts within a block."""


class BlockFile:
    """A new file, open for writing: every piece but the last begins and ends where a block does.

    As much of a file as Arrow and Faiss write to.

    Raises (from every method that writes): OSError: what was written is of no use then. ValueError: it is closed.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 closed by `__exit__`
        self._waiting = bytearray()
        self._n_written = 0

    def __enter__(self) -> BlockFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._put(memoryview(self._waiting))
        finally:
            self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def write(self, content: Any) -> int:
        """Take the next bytes (any buffer that lies in one piece); return how many there were."""
        if self.closed:
            raise ValueError("write to a closed file")
        with memoryview(content) as view:
            return self._take(view.cast("B")) if view.nbytes else 0

    def _take(self, content: memoryview) -> int:
        n_first = min(len(content), -len(self._waiting) % BLOCK_BYTES)
        self._waiting += content[:n_first]
        if len(self._waiting) == BLOCK_BYTES:
            self._put(memoryview(self._waiting))
            self._waiting = bytearray()
        n_before_rest = len(content) - (len(content) - n_first) % BLOCK_BYTES
        self._put(content[n_first:n_before_rest])
        self._waiting += content[n_before_rest:]
        return len(content)

    def tell(self) -> int:
        return self._n_written + len(self._waiting)

    def flush(self) -> None:
        """Do nothing: what is in no whole block yet is written when the file is closed."""

    def _put(self, content: memoryview) -> None:
        while len(content):
            n_put = os.write(self._file.fileno(), content[:_MOST_BYTES])
            self._n_written += n_put
            content = content[n_put:]
