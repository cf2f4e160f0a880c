"""What is compiled when Roost is installed, and what happens where it cannot be."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roost.engine.index import compiled_sketch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(build: ModuleType, tmp_path: Path) -> Path:
    (tmp_path / build.SOURCE).parent.mkdir(parents=True)
    shutil.copy(ROOT / build.SOURCE, tmp_path / build.SOURCE)
    return tmp_path


def run(build: ModuleType, tree: Path, target: str = "wheel") -> dict[str, Any]:
    build_data: dict[str, Any] = {"artifacts": []}
    build.CustomBuildHook(str(tree), {}, None, None, str(tree), target).initialize("standard", build_data)
    return build_data


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_library_is_made_and_goes_into_the_wheel(build: ModuleType, tree: Path) -> None:
    build_data = run(build, tree)
    assert build_data["artifacts"] == [build.LIBRARY.as_posix()]
    assert not build_data["pure_python"] and build_data["tag"].startswith("py3-none-linux_")
    made = tree / build.LIBRARY
    assert sorted(os.listdir(made.parent)) == sorted([build.SOURCE.name, build.LIBRARY.name])
    assert (compiled_sketch._load(made) is None) == (compiled_sketch.LIBRARY is None)


@pytest.mark.parametrize("compiler", ["/there/is/none", "false"])
def test_without_a_compiler_the_wheel_is_for_every_platform(
    build: ModuleType, tree: Path, compiler: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", compiler)
    (tree / build.LIBRARY).write_bytes(b"of an earlier source")
    assert run(build, tree) == {"artifacts": []}
    assert os.listdir((tree / build.SOURCE).parent) == [build.SOURCE.name]
    told = capfd.readouterr()
    assert "not compiled" in told.out + told.err


def test_a_source_that_does_not_compile_is_told(
    build: ModuleType, tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tree / build.SOURCE).write_text("no C at all")
    assert run(build, tree) == {"artifacts": []}
    told = capfd.readouterr()
    assert "not compiled" in told.out + told.err


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_a_source_distribution_and_other_systems_compile_nothing(
    build: ModuleType, tree: Path, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert run(build, tree, "sdist" if platform == "linux" else "wheel") == {"artifacts": []}
    assert not (tree / build.LIBRARY).exists()
