from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import Corruption, FingerprintMismatch, InvalidArgument, InvalidData, UnsafeModel
from roost.lifecycle.models.embedders.base import embed_checked
from roost.lifecycle.models.embedders.callable import CallableEmbedder

SOURCE = """
import numpy as np
def embed(batch, factor=1.0):
    return np.array([[len(text) * factor, 1.0] for text in batch])
number = 3
"""
NAME = "roost_test_functions"
PATH = f"{NAME}:embed"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the module that holds the function, as after an installation of another version of it."""
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    (tmp_path / "code").mkdir()

    def written(source: str) -> None:
        (tmp_path / "code" / f"{NAME}.py").write_text(source)
        sys.modules.pop(NAME, None)
        importlib.invalidate_caches()

    written(SOURCE)
    yield written
    sys.modules.pop(NAME, None)


def lengths(batch: Any) -> Any:
    return [[float(len(text))] for text in batch]


def test_a_trusted_path_is_called_with_its_configuration(write: Any, tmp_path: Path) -> None:
    embedder = CallableEmbedder(PATH, dim=2, config={"factor": 2.0}, trusted=[PATH])
    np.testing.assert_array_equal(embed_checked(embedder, ["abc", ""]), [[6.0, 1.0], [0.0, 1.0]])
    model = tmp_path / "model"
    model.mkdir()
    embedder.save(model)
    loaded = CallableEmbedder.load(model, trusted=[PATH])
    assert loaded.fingerprint == embedder.fingerprint
    np.testing.assert_array_equal(loaded.embed(["abc"]), embedder.embed(["abc"]))


def test_nothing_is_imported_that_is_not_trusted(write: Any, tmp_path: Path) -> None:
    write(f"raise SystemExit('imported')\n{SOURCE}")
    with pytest.raises(UnsafeModel, match=rf"pass trusted=\['{PATH}'\]"):
        CallableEmbedder(PATH, dim=2)
    assert NAME not in sys.modules
    write(SOURCE)
    CallableEmbedder(PATH, dim=2, trusted=[PATH]).save(tmp_path)
    sys.modules.pop(NAME)
    with pytest.raises(UnsafeModel):
        CallableEmbedder.load(tmp_path, trusted=["another:path"])
    assert NAME not in sys.modules


def test_code_that_was_changed_is_another_model(write: Any, tmp_path: Path) -> None:
    first = CallableEmbedder(PATH, dim=2, trusted=[PATH])
    first.save(tmp_path)
    write(SOURCE.replace("len(text)", "-len(text)"))
    assert CallableEmbedder(PATH, dim=2, trusted=[PATH]).fingerprint != first.fingerprint
    with pytest.raises(FingerprintMismatch, match="install the version that was registered"):
        CallableEmbedder.load(tmp_path, trusted=[PATH])
    write(SOURCE)
    assert CallableEmbedder.load(tmp_path, trusted=[PATH]).fingerprint == first.fingerprint


def test_configuration_and_length_are_part_of_the_fingerprint(write: Any) -> None:
    made = [
        CallableEmbedder(PATH, dim=dim, config=config, trusted=[PATH]).fingerprint
        for dim, config in [(2, {}), (3, {}), (2, {"factor": 1.0}), (2, {"factor": 2.0})]
    ]
    assert len(set(made)) == 4


def test_a_function_may_be_given_itself() -> None:
    embedder = CallableEmbedder(lengths, dim=1)
    assert embedder.path == f"{__name__}:lengths"
    assert embed_checked(embedder, ["ab"]).tolist() == [[2.0]]
    assert f"CallableEmbedder('{__name__}:lengths', dim=1" in repr(embedder)


def test_a_package_s_version_counts() -> None:
    embedder = CallableEmbedder("numpy:asarray", dim=2, trusted=["numpy:asarray"])
    assert embedder._code["numpy"] == np.__version__


def test_functions_that_nobody_could_find_again_are_refused() -> None:
    def inner(batch: Any) -> Any:
        return batch

    for function in (inner, lambda batch: batch, len.__call__, object()):
        with pytest.raises(InvalidArgument, match="cannot be imported by a name"):
            CallableEmbedder(function, dim=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("os.system", "write package.module:function"),
        ("os:path.join", "write package.module:function"),
        ("../evil:run", "write package.module:function"),
        (f"{NAME}:missing", "there is no function"),
        (f"{NAME}:number", "cannot be called"),
        ("roost_no_such_module:embed", "there is no function"),
        ("math:sqrt", "cannot be read"),
    ],
)
def test_paths_of_no_function_are_refused(write: Any, path: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        CallableEmbedder(path, dim=1, trusted=[path])


def test_what_is_wrong_is_named(write: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="dim=0"):
        CallableEmbedder(PATH, dim=0, trusted=[PATH])
    with pytest.raises(InvalidArgument, match="not a JSON value"):
        CallableEmbedder(PATH, dim=2, config={"factor": object()}, trusted=[PATH])
    with pytest.raises(InvalidData, match="cannot embed"):
        embed_checked(CallableEmbedder(PATH, dim=2, config={"unknown": 1}, trusted=[PATH]), ["a"])
    (tmp_path / "callable.json").write_text("{}")
    with pytest.raises(Corruption, match="cannot be read"):
        CallableEmbedder.load(tmp_path)
