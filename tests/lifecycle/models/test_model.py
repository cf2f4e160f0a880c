from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from roost.errors import InvalidArgument, MissingDependency
from roost.lifecycle.models.embedders.base import register_embedder
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.model import Model, model_class, register_model


class Named(Model):
    """A model that is nothing but a name."""

    kind = "test-named"

    @property
    def fingerprint(self) -> str:
        return "sha256:named"

    def save(self, directory: Path) -> None:
        (directory / "name.txt").write_text("named")

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> Named:
        return cls()


def test_kinds_are_registered_once() -> None:
    assert register_model(Named) is register_embedder(Named) is Named
    assert model_class("test-named") is Named

    class Other(Named):
        pass

    with pytest.raises(InvalidArgument, match="Named already"):
        register_model(Other)


def test_roost_s_own_kinds_need_no_import_and_cannot_be_taken() -> None:
    assert model_class("sklearn") is SklearnEmbedder
    assert register_model(SklearnEmbedder) is SklearnEmbedder

    class Impostor(Named):
        kind = "sklearn"

    with pytest.raises(InvalidArgument, match="SklearnEmbedder already"):
        register_model(Impostor)


def test_an_unknown_kind_says_which_are_known() -> None:
    with pytest.raises(MissingDependency, match=r"'unheard-of'.*known: .*sklearn"):
        model_class("unheard-of")


def test_a_package_offers_a_kind_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    information = tmp_path / "plugin-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[roost.models]\ntest-plugin = roost_test_plugin:Plugin\n")
    (tmp_path / "roost_test_plugin.py").write_text(
        "from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder\n"
        "class Plugin(SklearnEmbedder):\n    kind = 'test-plugin'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert model_class("test-plugin").__name__ == "Plugin"
