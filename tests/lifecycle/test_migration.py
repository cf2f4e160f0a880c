"""The whole replacement of a model, with kills: `examples/migrate_model.py`, smaller.

ROOST_MIGRATION_ROWS=60000 runs it in full. Times are in the report, which is printed; they are not asserted here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roost.demo.images import FASHION_MNIST_FOLDER
from tests.lifecycle.conftest import Place

ROOT = Path(__file__).parents[2]
N_ROWS = int(os.environ.get("ROOST_MIGRATION_ROWS", "3000"))


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.skipif(not FASHION_MNIST_FOLDER.is_dir(), reason="needs Fashion-MNIST: Debian's dataset-fashion-mnist")
def test_a_model_is_replaced_under_load_while_its_backfill_is_killed_twice(place: Place) -> None:
    command = [sys.executable, str(ROOT / "examples" / "migrate_model.py"), "--rows", str(N_ROWS), "--seconds", "4"]
    command += ["--max-switch-ms", "inf", "--endpoint", place.endpoint, *(["--uri", place.uri] if place.uri else [])]
    source = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1200, check=False, env={**os.environ, "PYTHONPATH": source}
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout[: done.stdout.rindex("}") + 1])
    assert report["kills"] == 2 and report["failed_queries"] == 0
    assert report["queries"] > 0 and report["writes"] > 0
    assert [found["compared"] for found in report["compared"]] == ["fashion-v1", "fashion-v2"]
    assert all(found["lost"] == found["stale"] == found["not_deleted"] == 0 for found in report["compared"])
