from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from roost.errors import Corruption, InvalidArgument, InvalidName, ModelNotFound, UnsafeModel
from roost.lifecycle.models.data_versions import data_digest
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.environment import packages_of
from roost.lifecycle.models.model_files import save_model
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.models.runs import COMMIT, DIRTY
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.store.governance_tables import DataVersionRow, ModelDataRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place


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
    url = workspace._tracking.url
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

    url = workspace._tracking.url
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
    for incomplete in ("digits", "digits/"):
        with pytest.raises(InvalidArgument, match="say which version of 'digits': 'digits/1' or"):
            workspace.models.load(incomplete)
    assert workspace.models.load("digits", 1).dim == 4
    assert list(workspace.models.versions("letters")) == []


def test_a_version_is_found_by_its_text(workspace: Workspace, weak: ModelVersion, endpoint: Endpoint) -> None:
    for found in (
        workspace.models.get("digits/1"),
        workspace.models.get("digits", "1"),
        workspace.models.get("digits/champion"),
    ):
        assert found == workspace.models.get("digits", 1)
    assert workspace.models.load("digits/1").fingerprint == weak.fingerprint
    with pytest.raises(ModelNotFound, match="no version 9"):
        workspace.models.get("digits/9")


def test_what_is_no_embedder_is_refused_with_the_way_to_make_one(workspace: Workspace, digits: Digits) -> None:
    with pytest.raises(InvalidArgument, match=r"not as PCA: .*SklearnEmbedder\(PCA\("):
        workspace.models.register("digits", PCA(4).fit(digits.images))  # type: ignore[arg-type]
    assert workspace.models.list() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "nope"}, r"describe\(\.\.\.\) gives, not 'nope'"),
        ({"data": ["nope"]}, r"describe\(\.\.\.\) gives"),
        ({"data": 5}, r"describe\(\.\.\.\) gives, not 5"),
        ({"metrics": {"recall": "x"}}, "'recall' is 'x'"),
        ({"metrics": {"recall": None}}, "'recall' is None"),
    ],
)
def test_what_is_no_data_and_no_figure_is_refused(
    workspace: Workspace, digits: Digits, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        workspace.models.register("digits", digits.embedder(4), **options)
    assert workspace.models.list() == []


def test_a_registration_whose_figures_cannot_be_logged_leaves_nothing(workspace: Workspace, digits: Digits) -> None:
    from mlflow.exceptions import MlflowException

    with workspace.runs.start("training") as run:
        pass
    workspace._tracking.client.delete_run(run.id)
    with pytest.raises(MlflowException, match="active"):
        workspace.models.register("digits", digits.embedder(2), run=run, metrics={"recall": 0.5})
    assert list(workspace.models.versions("digits")) == []
    assert [entry for entry in workspace.ledger.entries() if entry.action == "register"] == []


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


def test_a_workspace_may_be_moved(place: Place, workspace: Workspace, weak: ModelVersion, tmp_path: Path) -> None:
    if workspace.location.startswith("http"):
        pytest.skip("needs the embedded engine: the vectors of a server do not move with the directory")
    workspace.close()
    moved = replace(place, home=tmp_path / "moved")
    place.home.rename(moved.home)
    with moved.open() as reopened:
        assert reopened.models.load("digits", 1).fingerprint == weak.fingerprint


def test_mlflow_is_imported_when_it_is_needed_and_sends_nothing(tmp_path: Path) -> None:
    program = (
        "import os, sys, threading\n"
        "from roost.lifecycle.models.tracking import Tracking\n"
        "from roost.lifecycle.store import Store\n"
        "from pathlib import Path\n"
        "import roost.workspace\n"
        "assert not any(name.split('.')[0] in ('mlflow', 'skops', 'sklearn') for name in sys.modules)\n"
        "os.environ.pop('MLFLOW_DISABLE_TELEMETRY', None); os.environ.pop('DO_NOT_TRACK', None)\n"
        "path = Path(sys.argv[1])\n"
        "Tracking(Store(f'sqlite:///{path}/store.db'), path).client\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "assert is_telemetry_disabled() and get_telemetry_client() is None\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    source = str(Path(__file__).parents[3] / "src")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_version_is_tied_to_code_data_environment_signature_and_owner(workspace: Workspace, digits: Digits) -> None:
    data = workspace.data.describe(digits.images, name="digits")
    version = workspace.models.register(
        "digits", digits.embedder(4), data=data, owner="ann", description="the first", signature=digits.images[:2]
    )
    assert (version.kind, version.task, version.owner, version.description) == (
        "sklearn",
        "embedding",
        "ann",
        "the first",
    )
    assert version.data == (data.digest,) and version.data_versions == (data,)
    assert version.signature["input"] == {"type": "float32", "shape": [None, 64]}
    assert version.created_at.startswith("20") and version == workspace.models.get("digits", 1)
    packages = packages_of(workspace.models.environment(version) or "")
    assert packages["numpy"] == np.__version__
    entry = workspace.ledger.entries()[-1]
    assert entry.evidence["data"] == [data.digest] and entry.evidence["checksum"] == version.files.checksum
    with workspace._store.read() as session:
        assert session.get_one(DataVersionRow, data.digest).name == "digits"
        assert session.get(ModelDataRow, ("digits", 1, data.digest, "train")) is not None


def test_code_and_data_are_those_of_the_run(workspace: Workspace, digits: Digits) -> None:
    with workspace.runs.start("train", data=digits.images, tags={COMMIT: "abc123", DIRTY: "true"}) as run:
        pass
    version = workspace.models.register("digits", digits.embedder(4), run=run.id)
    assert (version.code, version.code_is_dirty) == ("abc123", True)
    assert version.data == (data_digest(digits.images),)
    other = workspace.data.describe(digits.labels)
    assert workspace.models.register("digits", digits.embedder(4), run=run, data=[other]).data == (other.digest,)
    with pytest.raises(InvalidArgument, match="there is no run 'nothing'"):
        workspace.models.register("digits", digits.embedder(4), run="nothing")


def test_the_code_is_that_of_the_current_directory(
    workspace: Workspace, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert workspace.models.register("digits", digits.embedder(4)).code is None
    identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    for arguments in (["init", "-q"], ["add", "code.py"], [*identity, "commit", "-q", "-m", "first"]):
        (tmp_path / "code.py").write_text("first")
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)
    clean = workspace.models.register("digits", digits.embedder(4))
    (tmp_path / "code.py").write_text("second")
    dirty = workspace.models.register("digits", digits.embedder(4))
    assert clean.code == dirty.code and len(clean.code or "") == 40
    assert (clean.code_is_dirty, dirty.code_is_dirty) == (False, True)


def test_a_predictor_is_registered_and_loaded(workspace: Workspace, digits: Digits) -> None:
    model = LogisticRegression(max_iter=300).fit(digits.images[:200], digits.labels[:200])
    version = workspace.models.register("reader", SklearnPredictor(model), signature=digits.images[:1])
    assert (version.kind, version.task, version.dim) == ("sklearn-predictor", "classification", 0)
    assert version.signature["output"]["classes"] == list(range(10))
    predictor = workspace.models.load_predictor(version.files)
    assert predictor.predict(digits.images[:3]).values.tolist() == model.predict(digits.images[:3]).tolist()
    assert isinstance(workspace.models.load(version), SklearnPredictor)
    with pytest.raises(InvalidArgument, match="SklearnPredictor, which gives no vectors"):
        workspace.models.load_files(version.files)
    embedder = workspace.models.register("digits", digits.embedder(4))
    with pytest.raises(InvalidArgument, match="SklearnEmbedder, which predicts nothing"):
        workspace.models.load_predictor(embedder.files)


def test_versions_of_before_kinds_were_kept_are_read_and_loaded(workspace: Workspace, digits: Digits) -> None:
    embedder = digits.embedder(4)
    files = save_model(workspace.artifacts, "digits", embedder)
    manifest = json.loads((workspace.artifacts / files.path / "manifest.json").read_text())
    assert manifest == {"kind": "sklearn", "fingerprint": embedder.fingerprint, "dim": 4, "files": manifest["files"]}
    client = workspace.models._tracking.client
    client.create_registered_model("digits")
    tags = {
        "roost.files": files.to_json(),
        "roost.fingerprint": embedder.fingerprint,
        "roost.dim": "4",
        "metric.a": "1.0",
    }
    client.create_model_version("digits", source="file:///old", tags=tags)
    version = workspace.models.get("digits", 1)
    assert (version.kind, version.task, version.dim, version.data, version.code) == ("", "embedding", 4, (), None)
    assert (version.metrics, version.tags, version.signature) == ({"a": 1.0}, {}, {})
    assert workspace.models.load(version).fingerprint == embedder.fingerprint
    assert workspace.models.environment(version) is None


def test_tags_of_roost_s_own_are_refused(workspace: Workspace, digits: Digits) -> None:
    with pytest.raises(InvalidArgument, match=r"the tags metric\.a, roost\.files are Roost's own"):
        workspace.models.register("digits", digits.embedder(4), tags={"roost.files": "x", "metric.a": "1", "team": "a"})


def test_a_damaged_lock_is_refused(workspace: Workspace, weak: ModelVersion) -> None:
    (model_directory(workspace, weak) / "environment.lock").write_text("numpy==0")
    with pytest.raises(Corruption, match=r"environment\.lock is not what was saved"):
        workspace.models.environment(weak)


def test_endpoints_that_share_a_model_keep_their_aliases(
    workspace: Workspace, weak: ModelVersion, strong: ModelVersion
) -> None:
    def aliases() -> dict[str, str]:
        found = workspace.models._tracking.client.get_registered_model("digits").aliases
        return {alias: str(number) for alias, number in found.items()}

    workspace.models.point_aliases("digits", {"champion": 1, "challenger": 2}, endpoint="shop")
    assert aliases() == {"champion--shop": "1", "champion": "1", "challenger--shop": "2", "challenger": "2"}
    workspace.models.point_aliases("digits", {"champion": 2, "challenger": None}, endpoint="club")
    assert aliases() == {"champion--shop": "1", "champion--club": "2", "challenger--shop": "2", "challenger": "2"}
    assert workspace.models.get("digits", "champion--club").version == 2
    workspace.models.point_aliases("digits", {"champion": 2, "challenger": None}, endpoint="shop")
    assert aliases() == {"champion--shop": "2", "champion--club": "2", "champion": "2"}


def test_a_version_shows_itself(workspace: Workspace, digits: Digits) -> None:
    version = workspace.models.register(
        "digits", digits.embedder(4), metrics={"recall": 0.5}, owner="<ann>", description="<b>first</b>"
    )
    assert repr(version).startswith("ModelVersion('digits/1', kind='sklearn', dim=4, fingerprint='sha256:")
    assert "metrics={'recall': 0.5}" in repr(version) and len(repr(version)) < 200
    shown = version._repr_html_()
    assert "&lt;ann&gt;" in shown and "&lt;b&gt;first" in shown and version.fingerprint in shown
