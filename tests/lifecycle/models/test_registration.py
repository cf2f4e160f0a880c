"""Registrations that were killed on the way, failed, or met another process."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from roost.errors import Conflict, PermissionDenied, StorageFailure
from roost.lifecycle.governance import permits
from roost.lifecycle.models import registration, registry
from roost.lifecycle.models.registration import Note, is_dead
from roost.lifecycle.store.database import utc_text
from roost.lifecycle.store.tables import JobRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place

PROGRAM = """
import os, sys
import numpy as np
from sklearn.decomposition import PCA
from roost.lifecycle.models import registration, registry
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.workspace import Workspace

def die(*arguments, **options):
    os._exit(9)

where, name = sys.argv[1].split(":")
setattr({"registry": registry, "Models": registry.Models, "registration": registration}[where], name, die)
options = dict(zip(("store", "actor", "artifacts"), sys.argv[3:]))
workspace = Workspace(sys.argv[2], **{**options, "actor": "killed"})
data = workspace.data.describe(np.eye(4))
workspace.models.register("digits", SklearnEmbedder(PCA(2).fit(np.eye(4))), data=data, metrics={"recall": 0.5})
"""


def killed_at(place: Place, step: str) -> None:
    """Register a model in a process that dies where it would call `step`."""
    source = str(Path(__file__).parents[3] / "src")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", PROGRAM, step, *place.arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 9, done.stderr


def beside(place: Place) -> Workspace:
    """Open the same store and artifacts as another process would, with vectors of its own."""
    return Workspace(place.home / "second", store=place.store, artifacts=place.home / "artifacts")


def notes(workspace: Workspace) -> int:
    with workspace._store.read() as session:
        return len(session.scalars(select(JobRow).where(JobRow.kind == "register")).all())


def files_of(workspace: Workspace) -> list[Path]:
    return list((workspace.artifacts / "models").glob("*/*"))


@pytest.mark.crash
def test_a_version_without_its_entry_gets_it_when_the_workspace_opens(place: Place) -> None:
    killed_at(place, "registration:finish")
    with place.open(actor="next") as workspace:
        (version,) = workspace.models.versions("digits")
        (entry,) = workspace.ledger.entries()
        assert (entry.actor, entry.action, entry.subject) == ("killed", "register", "digits/1")
        assert entry.evidence["fingerprint"] == version.fingerprint and version.metrics == {"recall": 0.5}
        assert entry.evidence["data"] == list(version.data) and len(version.data) == 1
        assert workspace.models.load(version).dim == 2 and notes(workspace) == 0
        assert workspace.ledger.verify() == 1
    with place.open() as workspace:
        assert workspace.ledger.verify() == 1


@pytest.mark.crash
@pytest.mark.parametrize("step", ["registry:save_model", "Models:_create"])
def test_what_never_came_to_mlflow_is_taken_away(place: Place, step: str) -> None:
    killed_at(place, step)
    with place.open() as workspace:
        assert (notes(workspace), files_of(workspace)) == (0, [])
        assert list(workspace.models.versions("digits")) == [] and workspace.ledger.entries() == []


def test_a_workspace_that_opens_in_between_writes_the_entry_and_only_one(
    place: Place, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = registration.finish

    def interrupted(store: Any, note: Note, version: Any) -> bool:
        monkeypatch.setattr(registration, "_own", set())
        monkeypatch.setattr(registration, "finish", finish)
        with beside(place) as other:
            assert [entry.subject for entry in other.ledger.entries()] == ["digits/1"]
        return finish(store, note, version)

    monkeypatch.setattr(registration, "finish", interrupted)
    version = workspace.models.register("digits", digits.embedder(4))
    assert [entry.subject for entry in workspace.ledger.entries()] == [str(version)]


def test_a_registration_that_goes_on_is_left_alone(
    place: Place, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = registry.Models._create

    def interrupted(models: registry.Models, *arguments: Any) -> Any:
        with beside(place):
            assert notes(workspace) == 1 and len(files_of(workspace)) == 1
        return create(models, *arguments)

    monkeypatch.setattr(registry.Models, "_create", interrupted)
    assert workspace.models.register("digits", digits.embedder(4)).version == 1
    assert notes(workspace) == 0


def test_a_registration_that_was_taken_for_killed_says_so(
    place: Place, workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = registry.Models._create

    def interrupted(models: registry.Models, *arguments: Any) -> Any:
        monkeypatch.setattr(registration, "_own", set())
        with beside(place):
            assert (notes(workspace), files_of(workspace)) == (0, [])
        return create(models, *arguments)

    monkeypatch.setattr(registry.Models, "_create", interrupted)
    with pytest.raises(Conflict, match="taken for killed; repeat it"):
        workspace.models.register("digits", digits.embedder(4))
    assert list(workspace.models.versions("digits")) == [] and workspace.ledger.entries() == []


def test_a_failure_leaves_nothing(workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Any:
        raise StorageFailure("the disk is full")

    for part, name in ((registry.Models, "_create"), (registry, "save_model")):
        monkeypatch.setattr(part, name, refuse)
        with pytest.raises(StorageFailure, match="the disk is full"):
            workspace.models.register("digits", digits.embedder(4))
        assert (notes(workspace), files_of(workspace), workspace.ledger.entries()) == (0, [], [])


def test_who_may_not_register_leaves_nothing(
    workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def check(session: Any, *question: Any) -> None:
        asked.append(question)
        raise PermissionDenied("not you")

    monkeypatch.setattr(permits, "check", check)
    with pytest.raises(PermissionDenied, match="not you"):
        workspace.models.register("digits", digits.embedder(4))
    assert asked == [("tester", "register", None, "digits")]
    assert (notes(workspace), files_of(workspace)) == (0, []) and list(workspace.models.versions("digits")) == []


def test_two_that_meet_at_the_same_data_both_come_through(
    workspace: Workspace, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = registration._finish
    calls = []

    def once_refused(*arguments: Any) -> bool:
        calls.append(arguments)
        if len(calls) == 1:
            raise Conflict("another was first")
        return real(*arguments)

    monkeypatch.setattr(registration, "_finish", once_refused)
    version = workspace.models.register("digits", digits.embedder(4), data=workspace.data.describe(np.eye(2)))
    assert len(calls) == 2 and [entry.subject for entry in workspace.ledger.entries()] == [str(version)]


@pytest.mark.parametrize(
    ("worker", "hours", "dead"),
    [
        ("elsewhere:1", 0, False),
        ("elsewhere:1", 23, False),
        ("elsewhere:1", 25, True),
        ("", 25, True),
        ("here:own", 0, True),
        ("here:1", 25, False),
        ("here:gone", 0, True),
    ],
)
def test_who_is_dead(worker: str, hours: int, dead: bool) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {"here": os.uname().nodename, "own": str(os.getpid()), "gone": str(gone.pid)}
    written = ":".join(names.get(part, part) for part in worker.split(":"))
    since = utc_text(datetime.now(timezone.utc) - timedelta(hours=hours))
    assert is_dead(Note(1, "digits", "models/digits/1", "ann", written, since)) is dead
