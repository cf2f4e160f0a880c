"""What is found out about a plan's functions before it is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.retrain import importable
from roost.lifecycle.retrain.importable import check_importable
from roost.lifecycle.retrain.training import imported


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported, here and in other processes."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(file.stem, None)


def test_what_is_edited_between_the_look_and_the_run_is_run(shop: Path) -> None:
    (shop / "prices.py").write_text("N = 1")
    recipe = shop / "a_recipe.py"
    recipe.write_text("import prices\n\ndef records():\n    return [prices.N]")
    assert check_importable(["a_recipe:records"]) == []
    assert not {"a_recipe", "prices"} & set(sys.modules)
    recipe.write_text("import prices\n\ndef records():\n    return [prices.N, 'edited']")
    (shop / "prices.py").write_text("N = 22")
    assert imported("a_recipe:records")() == [22, "edited"]


def test_a_name_that_a_module_gives_when_it_is_asked_is_there(shop: Path) -> None:
    (shop / "lazy.py").write_text(
        "def __getattr__(name):\n    if name == 'train':\n        return print\n    raise KeyError"
    )
    assert check_importable(["lazy:train"]) == []
    assert callable(imported("lazy:train"))
    assert check_importable(["lazy:train"]) == [], "likewise once it is imported here"
    assert check_importable(["lazy:absent"]) == ["'lazy:absent' cannot be imported here: "]


def test_a_function_that_is_not_there_is_refused_and_reloading_is_advised_where_it_helps(shop: Path) -> None:
    (shop / "a_recipe.py").write_text(
        "from functools import partial\n\ndef train(): ...\n\nN = 3\nhalf = partial(train)"
    )
    for path in ("a_recipe:trian", "a_recipe:N"):
        with pytest.raises(InvalidArgument, match=r"module 'a_recipe' has no function") as refused:
            check_importable([path])
        assert "reload" not in str(refused.value)
    imported("a_recipe:train")
    with pytest.raises(InvalidArgument, match=r"'trian' .did you mean 'train'.*importlib\.reload it"):
        check_importable(["a_recipe:trian"])


def test_an_import_that_ends_its_process_or_never_ends_is_said(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "fine.py").write_text("print('hello')\n\ndef train(): ...")
    (shop / "ends.py").write_text("import os\nos._exit(3)")
    (shop / "sleeps.py").write_text("import time\ntime.sleep(600)")
    assert check_importable(["fine:train", "ends:evaluate"]) == [
        "'ends:evaluate' cannot be imported here: its import ended the process"
    ]
    monkeypatch.setattr(importable, "LOOK_S", 1.0)
    assert check_importable(["sleeps:train"]) == ["'sleeps:train' cannot be imported here: that took longer than 1 s"]
