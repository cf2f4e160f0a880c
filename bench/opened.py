"""What a process holds that opens a database and asks: python -m bench.opened FOLDER DATA_TYPE METRIC PARAMS.

Runs by itself, so that what it holds is its own; prints how many bytes more than before the opening.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pymilvus import DataType

import roost
from bench.environments import REPOSITORY
from bench.memory import resident_bytes
from bench.vector_kinds import Kind

DATABASE = "db"
QUERIES = "queries.npy"
COLLECTION = "rows"
K = 10


def held_bytes(folder: Path, kind: Kind, queries: npt.NDArray[Any], params: Mapping[str, Any]) -> int:
    """Return what a process of its own holds for the database in the folder, once it has answered the queries."""
    np.save(folder / QUERIES, queries)
    command = [sys.executable, "-m", "bench.opened", str(folder), str(int(kind.data_type)), kind.metric]
    done = subprocess.run([*command, json.dumps(params)], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    return int(done.stdout.split()[-1])


def ask(folder: Path, kind: Kind, params: Mapping[str, Any]) -> int:
    """Open the database, ask each query once, and return how much the resident memory of this process grew."""
    queries = kind.as_sent(np.load(folder / QUERIES))
    before = resident_bytes(os.getpid())
    with closing(roost.connect(folder / DATABASE, read_only=True)) as client:
        for query in queries:
            client.search(COLLECTION, data=[query], limit=K, search_params={"params": dict(params)})
        return resident_bytes(os.getpid()) - before


if __name__ == "__main__":
    print(ask(Path(sys.argv[1]), Kind(DataType(int(sys.argv[2])), sys.argv[3]), json.loads(sys.argv[4])))
