from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from roost.errors import Corruption, InvalidArgument, InvalidName, ModelNotFound, UnsafeModel
from roost.lifecycle.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.registry import ModelVersion
from roost.workspace import Workspace

from .conftest import Digits


def doubled(images: object) -> object:
    return images


def model_directory(workspace: Workspace, version: ModelVersion) -> Path:
    return workspace.artifacts / version.files.path


def test_versions_count_up_and_load_what_was_registered(
    workspace: Workspace, weak: ModelVersion, strong: ModelVersion, digits: Digits
) -> None:
    assert (str(weak), weak.version, weak.dim, weak.uri) == ("digits/1", 1, 4, "models:/digits/1")
    assert (str(strong), strong.dim) == ("digits/2", 16)
    assert weak.fingerprint != strong.fingerprint
    assert workspace.models.list() == ["digits"]
    assert list(workspace.models.versions("digits")) == [weak, strong]
    loaded = workspace.models.load(strong)
    assert loaded.fingerprint == strong.fingerprint
    np.testing.assert_array_equal(loaded.embed(digits.images[:3]), digits.embedder(16).embed(digits.images[:3]))


def test_a_version_is_tied_to_its_run_with_metrics_and_tags(workspace: Workspace, digits: Digits) -> None:
    with workspace.runs.start("train") as run:
        version = workspace.models.register(
            "digits", digits.embedder(4), run=run, metrics={"precision": 0.78}, tags={"team": "search"}
        )
    found = workspace.models.get("digits", 1)
    assert found == version
    assert (found.run_id, found.metrics, found.tags) == (run.id, {"precision": 0.78}, {"team": "search"})


def test_mlflow_s_own_client_sees_models_and_aliases(
    workspace: Workspace, weak: ModelVersion, strong: ModelVersion
) -> None:
    from mlflow.tracking import MlflowClient

    workspace.models.point_aliases("digits", {"champion": 2})
    url = f"sqlite:///{workspace.artifacts.parent / 'store.db'}"
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    assert client.get_model_version_by_alias("digits", "champion").version in (2, "2")
    assert Path(client.get_model_version("digits", "1").source.removeprefix("file://")).is_dir()
    assert workspace.models.get("digits", "champion").version == 2
    assert workspace.models.get("digits", "champion").aliases == ("champion",)
    workspace.models.point_aliases("digits", {"champion": None})
    with pytest.raises(ModelNotFound, match="no alias 'champion'"):
        workspace.models.get("digits", "champion")


def test_models_made_with_mlflow_alone_are_told_apart(workspace: Workspace, weak: ModelVersion) -> None:
    from mlflow.tracking import MlflowClient

    url = f"sqlite:///{workspace.artifacts.parent / 'store.db'}"
    MlflowClient(tracking_uri=url, registry_uri=url).create_model_version("digits", "file:///elsewhere")
    with pytest.raises(ModelNotFound, match="MLflow's alone"):
        workspace.models.get("digits", 2)
    assert [version.version for version in workspace.models.versions("digits")] == [1]


def test_what_is_not_there_is_named(workspace: Workspace, weak: ModelVersion) -> None:
    for name, version, message in [
        ("digits", 9, "model 'digits' has no version 9 (there are: 1)"),
        ("digits", "champoin", "model 'digits' has no alias 'champoin' (there are: none)"),
        ("letters", 1, "there is no model 'letters' (there are: digits)"),
        ("digit", 1, "there is no model 'digit' (did you mean 'digits'? there are: digits)"),
    ]:
        with pytest.raises(ModelNotFound) as caught:
            workspace.models.get(name, version)
        assert caught.value.message == message
    with pytest.raises(InvalidArgument, match="say which version"):
        workspace.models.load("digits")
    assert workspace.models.load("digits", 1).dim == 4
    assert list(workspace.models.versions("letters")) == []


def test_what_is_no_embedder_is_refused_with_the_way_to_make_one(workspace: Workspace, digits: Digits) -> None:
    with pytest.raises(InvalidArgument, match=r"not as PCA: .*SklearnEmbedder\(PCA\("):
        workspace.models.register("digits", PCA(4).fit(digits.images))  # type: ignore[arg-type]
    assert workspace.models.list() == []


def test_a_bad_name_leaves_nothing(workspace: Workspace, digits: Digits) -> None:
    with pytest.raises(InvalidName):
        workspace.models.register("no/slash", digits.embedder(4))
    assert workspace.models.list() == []
    assert not list(workspace.artifacts.rglob("*.skops"))


def test_a_changed_model_file_is_refused_by_name(workspace: Workspace, weak: ModelVersion) -> None:
    file = model_directory(workspace, weak) / "model.skops"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(Corruption, match=r"model\.skops is not what was saved"):
        workspace.models.load(weak)
    file.unlink()
    with pytest.raises(Corruption, match=r"model\.skops is missing"):
        workspace.models.load(weak)


def test_a_changed_manifest_is_refused(workspace: Workspace, weak: ModelVersion) -> None:
    manifest = model_directory(workspace, weak) / "manifest.json"
    manifest.write_text(manifest.read_text().replace(weak.fingerprint[-8:], "00000000"))
    with pytest.raises(Corruption, match=r"manifest\.json"):
        workspace.models.load(weak)


def test_trust_is_given_for_the_very_files_that_were_registered(workspace: Workspace, digits: Digits) -> None:
    name = f"{doubled.__module__}.doubled"
    model = make_pipeline(FunctionTransformer(doubled), PCA(4)).fit(digits.images)
    embedder = SklearnEmbedder(model, trusted=[name])
    distrusted = workspace.models.register("digits", embedder)
    with pytest.raises(UnsafeModel, match="doubled"):
        workspace.models.load(distrusted)
    assert workspace.models.load(distrusted, trusted=[name]).dim == 4
    trusted = workspace.models.register("digits", embedder, trusted=[name])
    assert workspace.models.load(trusted).dim == 4
    assert workspace.ledger.entries()[-1].evidence["trusted"] == [name]


def test_a_workspace_may_be_moved(workspace: Workspace, weak: ModelVersion, tmp_path: Path) -> None:
    if workspace.location.startswith("http"):
        pytest.skip("needs the embedded engine: the vectors of a server do not move with the directory")
    home = workspace.artifacts.parent
    workspace.close()
    home.rename(tmp_path / "moved")
    with Workspace(tmp_path / "moved") as moved:
        assert moved.models.load("digits", 1).fingerprint == weak.fingerprint


def test_mlflow_is_imported_when_it_is_needed_and_sends_nothing(tmp_path: Path) -> None:
    program = (
        "import os, sys, threading\n"
        "from roost.lifecycle.tracking import Tracking\n"
        "from pathlib import Path\n"
        "import roost.workspace\n"
        "assert not any(name.split('.')[0] in ('mlflow', 'skops', 'sklearn') for name in sys.modules)\n"
        "os.environ.pop('MLFLOW_DISABLE_TELEMETRY', None); os.environ.pop('DO_NOT_TRACK', None)\n"
        "path = Path(sys.argv[1])\n"
        "Tracking(f'sqlite:///{path}/store.db', path).client\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled() and get_telemetry_client() is None\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
