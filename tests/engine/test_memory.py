from __future__ import annotations

from pathlib import Path

import pytest

from roost.engine import memory
from roost.errors import InvalidArgument


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


def test_what_is_available_is_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ())
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    assert memory.available_bytes() == memory.physical_bytes()
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:   700 kB\nHugePages: x\n")
    assert memory.available_bytes() == 700 << 10


@pytest.mark.parametrize(
    ("limit", "usage", "stat", "available"),
    [
        ("memory.max", "memory.current", "anon 9\ninactive_file 30\nactive_file 20\n", 1_000 - 400 + 50),
        ("memory.max", "memory.current", "", 1_000 - 400),
        (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "inactive_file 1\nactive_file 1\ntotal_inactive_file 300\ntotal_active_file 200\n",
            1_000,
        ),
    ],
)
def test_a_container_has_what_its_limit_leaves_and_what_files_hold(
    limit: str, usage: str, stat: str, available: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (tmp_path / limit, tmp_path / "no container"))
    (tmp_path / limit).write_text("1000\n")
    (tmp_path / usage).write_text("400\n")
    (tmp_path / "memory.stat").write_text(stat)
    assert memory.available_bytes() == available
    (tmp_path / usage).write_text("2000\n")
    (tmp_path / "memory.stat").write_text("")
    assert memory.available_bytes() == 0
    (tmp_path / limit).write_text("max\n")
    assert memory.available_bytes() > 1 << 20


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (1, 1),
        ("77", 77),
        ("77 b", 77),
        ("512MB", 512 << 20),
        ("4GB", 4 << 30),
        ("4 GiB", 4 << 30),
        ("1.5g", 3 << 29),
        (" 2 kb ", 2048),
        ("1TB", 1 << 40),
    ],
)
def test_sizes_are_bytes_or_text(given: int | str, size: int) -> None:
    assert memory.parse_bytes("memory_limit", given) == size


@pytest.mark.parametrize(
    "given", [0, -1, 1.5, True, "", "GB", "4 XB", "-4GB", "0", "0.1B", "4GB 2", None, b"4GB", "٣GB"]
)
def test_what_is_no_size_is_refused(given: object) -> None:
    with pytest.raises(InvalidArgument, match=r"memory_limit=.* is not allowed: give bytes, or text such as '512MB'"):
        memory.parse_bytes("memory_limit", given)


def test_sizes_are_shown_in_the_unit_that_fits() -> None:
    sizes = (0, 1023, 1024, 3 << 29, 5 << 40, 1 << 60)
    assert [memory.shown_bytes(size) for size in sizes] == [
        "0 B",
        "1023 B",
        "1.0 KB",
        "1.5 GB",
        "5.0 TB",
        "1048576.0 TB",
    ]
