from __future__ import annotations

from pathlib import Path

from roost.engine.sweep import sweep


def test_what_nothing_names_is_removed(tmp_path: Path) -> None:
    for name in ("1/fields.arrow", "1/index-4.bin", "1/deep/file", "2/fields.arrow", "stray"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    removed = sweep(tmp_path, {1: {"fields.arrow"}, 3: {"fields.arrow"}})
    assert {p.relative_to(tmp_path).as_posix() for p in removed} == {"1/index-4.bin", "1/deep", "2", "stray"}
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == ["1/fields.arrow"]
    assert sweep(tmp_path, {1: {"fields.arrow"}}) == []
