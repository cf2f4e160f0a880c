from __future__ import annotations

from pathlib import Path

import pytest

from roost.engine import memory


def test_a_container_may_have_less_than_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory.physical_bytes()
    assert whole > 1 << 28
    for text, bytes_ in (("max", whole), ("1048576\n", 1 << 20), (str(1 << 60), whole)):
        (tmp_path / "memory.max").write_text(text)
        with monkeypatch.context() as patch:
            patch.setattr(memory, "_CGROUP_LIMITS", (tmp_path / "memory.max", tmp_path / "none"))
            assert memory.physical_bytes() == bytes_


def test_a_system_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(memory.os, "sysconf")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ())
    assert memory.physical_bytes() == 8 << 30
