"""The limit for durable inserts: the same bytes appended to one file, and fdatasync."""

from __future__ import annotations

import os
from pathlib import Path

from bench.arrays import FloatArray


class RawFile:
    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, vectors: FloatArray) -> None:
        """Write the vectors; they survive a loss of power when it returns."""
        content = memoryview(vectors.tobytes())
        while content:
            content = content[os.write(self.descriptor, content) :]
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)
