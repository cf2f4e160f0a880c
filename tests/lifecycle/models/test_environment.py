from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from roost.lifecycle.models.environment import environment_lock, packages_of


def test_the_lock_lists_exact_versions_once_and_pip_can_read_it() -> None:
    lock = environment_lock()
    packages = packages_of(lock)
    assert packages["numpy"] == np.__version__ and "scikit-learn" in packages
    lines = [line for line in lock.splitlines() if not line.startswith("#")]
    assert list(packages) == sorted(packages) and len(lines) == len(packages)
    assert lock.startswith(f"# python {sys.version.split()[0]}\n")


def test_the_lock_is_the_same_in_another_process() -> None:
    program = "from roost.lifecycle.models.environment import environment_lock; print(environment_lock(), end='')"
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = packages_of(environment_lock())
    # A test may have added a package of its own to this process's path.
    assert packages_of(seen.stdout).items() <= ours.items()


def test_a_package_that_is_installed_meanwhile_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "roost-test-late" not in packages_of(environment_lock())
    (tmp_path / "Roost_Test.Late-1.5.dist-info").mkdir()
    text = "Metadata-Version: 2.1\nName: Roost_Test.Late\nVersion: 1.5\n"
    (tmp_path / "Roost_Test.Late-1.5.dist-info" / "METADATA").write_text(text)
    importlib.invalidate_caches()
    assert packages_of(environment_lock())["roost-test-late"] == "1.5"
