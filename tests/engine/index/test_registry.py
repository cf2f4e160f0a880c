from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymilvus import DataType

from roost.engine.index import registry
from roost.engine.index.faiss_flat import FaissFlat
from roost.engine.index.faiss_hnsw import FaissHnsw
from roost.engine.index.registry import (
    check_definition,
    index_types,
    named_type,
    register_index,
    resolve_index,
    resolve_params,
)
from roost.engine.schema import Field
from roost.errors import InvalidArgument, MissingDependency, NotSupported

PLUGIN = """
from roost.engine.index.faiss_flat import FaissFlat

class Mine(FaissFlat):
    index_type = "MINE"

NOT_AN_INDEX = 3
"""


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table without what other tests have looked up by entry points."""
    held = {name: kind for name, kind in registry._registered.items() if name != "ANNOY"}
    monkeypatch.setattr(registry, "_registered", held)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed distribution with three entry points, as a third party ships it."""
    (tmp_path / "mine_index.py").write_text(PLUGIN)
    (tmp_path / "needs_annoy.py").write_text("import no_such_library")
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[roost.indexes]\nMINE = mine_index:Mine\nBROKEN = mine_index:NOT_AN_INDEX\n"
        "ANNOY = needs_annoy:Annoy\nOTHER = needs_annoy:Other\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield


def test_names_resolve_in_any_case() -> None:
    assert resolve_index("FLAT") is FaissFlat
    assert resolve_index("hnsw") is FaissHnsw
    assert {"FLAT", "HNSW"} <= set(index_types())


@pytest.mark.parametrize("name", ["", "AUTOINDEX", "autoindex"])
def test_autoindex_is_a_graph_with_parameters_of_its_own(name: str) -> None:
    assert resolve_index(name) is FaissHnsw
    assert resolve_params(name, {}) == {"M": 16, "efConstruction": 200}


def test_other_types_keep_the_parameters_they_are_given() -> None:
    assert resolve_params("HNSW", {"M": 8}) == {"M": 8}


def test_an_unknown_type_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidArgument, match=r"'TREE'.*FLAT.*HNSW.*AUTOINDEX"):
        resolve_index("TREE")


def test_a_type_that_only_milvus_has_is_not_supported() -> None:
    with pytest.raises(NotSupported, match=r"HNSW_PRQ.*available: .*HNSW"):
        resolve_index("hnsw_prq")


def test_a_name_belongs_to_one_class() -> None:
    assert register_index(FaissFlat) is FaissFlat

    class Impostor(FaissFlat):
        pass

    with pytest.raises(InvalidArgument, match="FLAT is registered already"):
        register_index(Impostor)


@pytest.mark.usefixtures("plugin")
def test_an_entry_point_adds_a_type() -> None:
    assert "MINE" in index_types()
    assert resolve_index("mine").__name__ == "Mine"
    assert resolve_index("MINE") is resolve_index("MINE")


@pytest.mark.usefixtures("plugin")
def test_an_entry_point_must_name_an_index() -> None:
    with pytest.raises(InvalidArgument, match="not a VectorIndex"):
        resolve_index("BROKEN")


@pytest.mark.usefixtures("plugin")
def test_a_missing_library_is_named_with_what_installs_it() -> None:
    with pytest.raises(MissingDependency, match=r"no_such_library.*roost\[annoy\]"):
        resolve_index("ANNOY")
    with pytest.raises(MissingDependency, match="needs_annoy:Other"):
        resolve_index("OTHER")


def test_autoindex_of_bits_compares_all() -> None:
    assert named_type("autoindex", DataType.BINARY_VECTOR) == "BIN_FLAT"
    assert named_type("BIN_IVF_FLAT", DataType.BINARY_VECTOR) == "BIN_IVF_FLAT"
    assert named_type("AUTOINDEX", DataType.INT8_VECTOR) == "AUTOINDEX"


def test_an_index_is_for_some_types_of_vectors() -> None:
    bits, half = Field("b", DataType.BINARY_VECTOR, 101, dim=16), Field("h", DataType.FLOAT16_VECTOR, 102, dim=4)
    with pytest.raises(
        InvalidArgument, match=r"HNSW does not take .*BINARY_VECTOR; use one of: BIN_FLAT, BIN_IVF_FLAT"
    ):
        check_definition(bits, "HNSW", "HAMMING", {})
    with pytest.raises(
        InvalidArgument, match=r"BIN_FLAT does not take .*FLOAT16_VECTOR; use one of: DISKANN, FLAT, HNSW, .*SCANN"
    ):
        check_definition(half, "BIN_FLAT", "HAMMING", {})
    with pytest.raises(InvalidArgument, match="unknown index type"):
        check_definition(half, "TREE", "L2", {})
    with pytest.raises(InvalidArgument, match="metric 'L2' is not allowed for BIN_FLAT"):
        check_definition(bits, "BIN_FLAT", "L2", {})
    check_definition(bits, "bin_ivf_flat", "JACCARD", {"nlist": 4})
    check_definition(half, "AUTOINDEX", "COSINE", {"anything": 1})
