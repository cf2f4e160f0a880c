from __future__ import annotations

from pathlib import Path

import pytest

from roost.engine.storage import witness
from roost.engine.storage.witness import Witness
from roost.errors import Corruption


def test_the_last_count_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "roost.commits"
    counter = Witness(path, read_only=False)
    assert counter.read() == (0, True)
    counter.record(3)
    counter.record(2**40)
    counter.close()
    counter.close()
    reader = Witness(path, read_only=True)
    assert reader.read() == (2**40, True)
    reader.close()


@pytest.mark.parametrize("synced", [False, True])
def test_a_count_of_an_earlier_boot_binds_if_commits_were_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synced: bool
) -> None:
    path = tmp_path / "roost.commits"
    counter = Witness(path, read_only=False, synced=synced)
    counter.record(3)
    counter.close()
    boot = tmp_path / "boot_id"
    for content in (b"another", None):
        if content is not None:
            boot.write_bytes(content)
        else:
            boot.unlink()
        monkeypatch.setattr(witness, "_BOOT_ID", boot)
        later = Witness(path, read_only=True)
        assert later.read() == (3, synced)
        later.close()


@pytest.mark.parametrize("place", range(32))
def test_any_changed_byte_is_noticed(tmp_path: Path, place: int) -> None:
    path = tmp_path / "roost.commits"
    counter = Witness(path, read_only=False)
    counter.record(77)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corruption, match=r"roost\.commits is damaged"):
        counter.read()
    counter.close()


@pytest.mark.parametrize("size", [1, 31, 33])
def test_another_length_is_noticed(tmp_path: Path, size: int) -> None:
    (tmp_path / "roost.commits").write_bytes(bytes(size))
    counter = Witness(tmp_path / "roost.commits", read_only=True)
    with pytest.raises(Corruption):
        counter.read()
    counter.close()


def test_a_reader_takes_up_a_file_that_is_made_later(tmp_path: Path) -> None:
    reader = Witness(tmp_path / "roost.commits", read_only=True)
    assert reader.read() == (0, True)
    assert reader.stamp() == b""
    counter = Witness(tmp_path / "roost.commits", read_only=False)
    counter.record(3)
    assert reader.stamp()
    assert reader.read() == (3, True)
    counter.close()
    reader.close()
    assert reader.stamp() == b"", "what is closed stays closed"
