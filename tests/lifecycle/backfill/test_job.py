from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusException

from roost.errors import InvalidArgument, InvalidData, InvalidTransition, JobNotFound, StorageFailure, WorkspaceError
from roost.lifecycle.backfill import ArraySource, Progress
from roost.lifecycle.deployments import builder, space
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import N_RECORDS, Child, Digits, Place


def n_rows(workspace: Workspace, endpoint: Endpoint, name: str) -> int:
    found = workspace.vectors.query(
        endpoint.deployment(name).collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
    )
    return int(found[0]["count(*)"])


def test_progress_goes_from_the_first_batch_to_done(
    empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits
) -> None:
    seen: list[Progress] = []
    empty_endpoint.deploy(weak, digits.records(0, 120), batch_size=50, progress=seen.append)
    assert seen == [
        Progress("embed", 50, 120, 0),
        Progress("embed", 100, 120, 0),
        Progress("embed", 120, 120, 0),
        Progress("index", 120, 120, 0),
        Progress("load", 120, 120, 0),
        Progress("done", 120, 120, 0),
    ]


def test_records_may_come_from_a_generator(empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits) -> None:
    seen: list[Progress] = []
    built = empty_endpoint.deploy(weak, iter(digits.records(0, 60)), progress=seen.append)
    assert built.n_records == 60 and seen[0] == Progress("embed", 60, None, 0)


def test_bad_records_are_set_aside_with_their_reasons(
    empty_endpoint: Endpoint,
    workspace: Workspace,
    weak: ModelVersion,
    digits: Digits,
    caplog: pytest.LogCaptureFixture,
) -> None:
    records: list[dict[str, Any]] = digits.records(0, 60)
    records[3] = {"id": 3, "label": 1}
    records[5] = {"content": digits.images[5]}
    records[7] = {"id": 7, "content": np.full(64, np.nan)}
    records[9] = {"id": 9, "content": np.zeros(63)}
    records[11] = {"id": "eleven", "content": digits.images[11]}
    records[59] = digits.images[59]
    built = empty_endpoint.deploy(weak, records, batch_size=20)
    assert built.n_records == n_rows(workspace, empty_endpoint, built.name) == 54
    assert built.n_rejected == 6
    assert (
        "6 of 60 records of 'digits-v1' were set aside, the first, with the key 3, because the record has no"
        in caplog.text
    )
    assert empty_endpoint.rejected(built)[-1] == ("None", "a record is a dictionary, not ndarray")
    rejected = dict(empty_endpoint.rejected(built)[:-1])
    assert list(rejected) == ["3", "None", "7", "9", "eleven"]
    assert rejected["3"] == "the record has no content" and rejected["None"] == "the record has no id"
    assert "NaN" in rejected["7"] and "cannot embed" in rejected["9"]
    assert workspace.ledger.entries(empty_endpoint.name)[-1].evidence["n_rejected"] == 6


def test_what_is_no_list_of_records_is_refused_before_there_is_a_deployment(
    empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits
) -> None:
    for bad in (digits.images[:10], list(digits.images[:10]), [1, 2], "records.parquet", {"id": 1}, 5, None):
        with pytest.raises(InvalidArgument, match="records are dictionaries"):
            empty_endpoint.deploy(weak, bad)  # type: ignore[arg-type]
    assert empty_endpoint.deployments() == []


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "there were none"),
        (
            [{"id": 1}, {"id": 2}],
            r"all 2 were set aside, the first, with the key 1, because the record has no content "
            r"\(the only reason; endpoint.rejected\('digits-v1'\) lists all\)",
        ),
        ([{"id": 7}, {"content": [0.0]}], r"with the key 7, .* \(one of 2 different reasons;"),
    ],
)
def test_a_deployment_without_records_does_not_become_ready(
    empty_endpoint: Endpoint,
    workspace: Workspace,
    weak: ModelVersion,
    records: list[dict[str, Any]],
    message: str,
) -> None:
    with pytest.raises(WorkspaceError, match=message):
        empty_endpoint.deploy(weak, records)
    failed = empty_endpoint.deployment("digits-v1")
    assert failed.state is State.FAILED and failed.n_records == 0
    assert not workspace.vectors.has_collection(failed.collection)
    assert len(empty_endpoint.rejected("digits-v1")) == failed.n_rejected == len(records)
    last = workspace.ledger.entries(empty_endpoint.name)[-1]
    assert (last.action, last.subject) == ("fail", "digits-v1")
    assert last.reason.startswith("it could not be built: no record could be stored")
    empty_endpoint.retire("digits-v1", "not needed")


@pytest.mark.parametrize("name", [None, "mine"])
def test_a_deployment_that_failed_gives_its_name_to_the_next(
    empty_endpoint: Endpoint, weak: ModelVersion, strong: ModelVersion, digits: Digits, name: str | None
) -> None:
    for _ in range(2):
        with pytest.raises(WorkspaceError, match="no record"):
            empty_endpoint.deploy(strong if name else weak, [{"id": 1}], name=name)
    built = empty_endpoint.deploy(weak, digits.records(0, 40), name=name)
    assert [(d.name, d.state.value) for d in empty_endpoint.deployments()] == [(name or "digits-v1", "ready")]
    assert (built.n_records, built.n_rejected, empty_endpoint.rejected(built)) == (40, 0, [])
    empty_endpoint.promote(built, "the first")
    assert empty_endpoint.search(digits.images[5], limit=1).ids == [5]


@pytest.mark.parametrize("again", [True, False])
def test_a_key_that_comes_again_is_named(
    empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits, again: bool
) -> None:
    records: list[dict[str, Any]] = digits.records(0, 60)
    records[45]["id"] = records[3]["id"]
    given = records if again else iter(records)
    named = "for example 3: keys are unique" if again else "can be read only once"
    with pytest.raises(WorkspaceError, match=rf"59 rows after 60 records .* with the same key, .*{named}"):
        empty_endpoint.deploy(weak, given, batch_size=20)
    assert empty_endpoint.deployment("digits-v1").state is State.FAILED
    records[45]["id"] = records[41]["id"]
    with pytest.raises(InvalidData, match="two records have the key '41'"):
        empty_endpoint.deploy(weak, records, batch_size=20)
    records[45]["id"] = 45
    assert empty_endpoint.resume("digits-v1", records).n_records == 60


def test_an_error_in_the_records_can_be_resumed_once_a_batch_was_taken(
    empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits
) -> None:
    def broken(n_good: int) -> Iterator[dict[str, Any]]:
        yield from digits.records(0, n_good)
        raise LookupError("the source is gone")

    with pytest.raises(LookupError):
        empty_endpoint.deploy(weak, broken(10), batch_size=20)
    assert empty_endpoint.deployment("digits-v1").state is State.FAILED
    with pytest.raises(LookupError):
        empty_endpoint.deploy(weak, broken(50), batch_size=20)
    building = empty_endpoint.deployment("digits-v1")
    assert (building.state, building.n_records) == (State.BUILDING, 40)
    assert empty_endpoint.resume("digits-v1", digits.records(0, 50)).n_records == 50


def test_the_vectors_of_a_deployment_that_failed_are_dropped_at_open(
    place: Place, empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine cannot be reached when the deployment fails."""

    def refuse(*_: object) -> None:
        raise StorageFailure("gone")

    with monkeypatch.context() as patch, pytest.raises(WorkspaceError, match="no record"):
        patch.setattr(space, "drop", refuse)
        empty_endpoint.deploy(weak, [{"id": 1}])
    failed = empty_endpoint.deployment("digits-v1")
    assert failed.state is State.FAILED and workspace.vectors.has_collection(failed.collection)
    workspace.close()
    with place.open() as reopened:
        assert not reopened.vectors.has_collection(failed.collection)


def test_an_index_that_cannot_be_is_refused_before_anything_is_embedded(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    def untouched() -> Iterator[dict[str, Any]]:
        raise AssertionError("a record was asked for")
        yield {}

    for index in ({"index_type": "HNWS"}, {"index_type": "HNSW", "M": "many", "efConstruction": 100}):
        with pytest.raises(MilvusException):
            empty_endpoint.deploy(weak, untouched(), index=index)
    assert empty_endpoint.deployments() == []
    assert not [name for name in workspace.vectors.list_collections() if name.startswith(empty_endpoint.alias)]


def test_records_with_one_key_are_found_out(empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits) -> None:
    records = digits.records(0, 30) + digits.records(0, 5)
    with pytest.raises(WorkspaceError, match="holds 30 rows after 35 records"):
        empty_endpoint.deploy(weak, records, batch_size=30)
    assert empty_endpoint.deployment("digits-v1").state is State.FAILED


def test_batch_sizes_are_checked(empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits) -> None:
    for size in (0, 10_001):
        with pytest.raises(InvalidArgument, match="batch_size"):
            empty_endpoint.deploy(weak, digits.records(), batch_size=size, name=f"d{size}")
    assert empty_endpoint.deployments() == []


def interrupted_after(records: list[dict[str, Any]], n_records: int) -> Iterator[dict[str, Any]]:
    yield from records[:n_records]
    raise KeyboardInterrupt


def test_ctrl_c_leaves_a_job_that_can_be_resumed(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    records = digits.records()
    with pytest.raises(KeyboardInterrupt):
        endpoint.deploy(strong, interrupted_after(records, 120), batch_size=50)
    half = endpoint.deployment("digits-v2")
    assert (half.state, half.n_records) == (State.BUILDING, 100)
    assert endpoint.search(digits.images[0]).deployment == "digits-v1"
    seen: list[Progress] = []
    built = endpoint.resume("digits-v2", records, batch_size=50, progress=seen.append)
    assert seen[0].n_done == 150
    assert (built.state.value, built.n_records) == ("ready", N_RECORDS)


def test_a_deployment_that_was_interrupted_is_named_to_who_begins_it_again(
    endpoint: Endpoint, strong: ModelVersion, digits: Digits
) -> None:
    with pytest.raises(KeyboardInterrupt):
        endpoint.deploy(strong, interrupted_after(digits.records(), 120), batch_size=50)
    with pytest.raises(InvalidTransition, match="'digits-v2' of digits/2 is being built, or was interrupted: `resume`"):
        endpoint.deploy(strong, digits.records())
    assert endpoint.deploy(strong, digits.records(), name="another").n_records == N_RECORDS


def test_a_deployment_whose_filling_never_began_is_cancelled(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no process could be started")

    monkeypatch.setattr(builder, "Threads", fail)
    with pytest.raises(OSError, match="no process"):
        endpoint.deploy(strong, digits.records())
    for name in ("pause", "resume"):
        with pytest.raises((InvalidTransition, JobNotFound)):
            getattr(endpoint, name)("digits-v2")
    endpoint.cancel("digits-v2", "it cannot be filled")
    cancelled = endpoint.deployment("digits-v2")
    assert cancelled.state is State.FAILED and not workspace.vectors.has_collection(cancelled.collection)


def test_a_deployment_whose_filling_is_just_beginning_is_neither_paused_nor_cancelled(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    """Nobody would hear of it: there is no job yet that says what is wanted."""
    refused: list[str] = []

    class Slow(ArraySource):
        def describe(self) -> dict[str, Any]:
            for act in (endpoint.pause, endpoint.cancel):
                with pytest.raises(InvalidTransition, match="is just beginning: repeat") as error:
                    act("digits-v2", "a mistake")
                refused.append(error.value.message)
            return super().describe()

    endpoint.deploy(strong, Slow(digits.images[:40], keys=range(40)))
    assert len(refused) == 2 and endpoint.deployment("digits-v2").state is State.READY
    actions = [entry.action for entry in workspace.ledger.entries(endpoint.name)]
    assert not {"backfill.pause", "backfill.cancel"} & set(actions)


def test_a_job_is_resumed_with_its_own_records_alone(endpoint: Endpoint, strong: ModelVersion, digits: Digits) -> None:
    with pytest.raises(KeyboardInterrupt):
        endpoint.deploy(strong, interrupted_after(digits.records(), 120), batch_size=50)
    with pytest.raises(InvalidArgument, match="their keys differ"):
        endpoint.resume("digits-v2", digits.records(1))
    with pytest.raises(InvalidArgument, match="had taken 100 records; these are only 10"):
        endpoint.resume("digits-v2", digits.records(0, 10))
    endpoint.resume("digits-v2", digits.records())
    with pytest.raises(InvalidTransition, match="is ready; only one that is building"):
        endpoint.resume("digits-v2", digits.records())


def test_a_deployment_is_filled_by_one_thread_at_a_time(
    empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits
) -> None:
    """A second one would go on writing old content after the first has sealed the deployment."""
    refused: list[str] = []

    def resume_too(at: Progress) -> None:
        with pytest.raises(InvalidTransition, match="being filled"):
            empty_endpoint.resume("digits-v1", digits.records())
        refused.append(at.stage)

    assert empty_endpoint.deploy(weak, digits.records(), progress=resume_too).n_records == N_RECORDS
    assert refused[0] == "embed"


def test_the_champion_answers_during_a_backfill(endpoint: Endpoint, strong: ModelVersion, digits: Digits) -> None:
    stop, failures, answered = threading.Event(), [], []

    def search() -> None:
        while not stop.is_set():
            try:
                answered.append(endpoint.search(digits.images[1], limit=1).deployment)
            except Exception as error:
                failures.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    endpoint.deploy(strong, digits.records(), batch_size=20)
    stop.set()
    thread.join()
    assert failures == [] and set(answered) == {"digits-v1"}


@pytest.mark.crash
def test_a_killed_backfill_is_resumed_in_a_new_process(
    place: Place, endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits, child: Child
) -> None:
    """The child had changed the last record through the endpoint: that content stays."""
    workspace.close()
    assert child("die_in_backfill") == -signal.SIGKILL
    with place.open() as reopened:
        found = reopened.endpoints.get(place.endpoint)
        assert found.deployment("digits-v2").state == "building"
        job = reopened.jobs.list()[0]
        assert (job.state, job.error, job.n_done) == ("interrupted", "its process is gone", 150)
        assert found.search(digits.images[0]).deployment == "digits-v1"
        seen: list[Progress] = []
        built = found.resume("digits-v2", digits.records(), batch_size=50, progress=seen.append)
        assert seen[0].n_done >= 200
        assert built.n_records == N_RECORDS
        changed = reopened.vectors.query(
            built.collection, filter=f"id == {N_RECORDS - 1}", output_fields=["label"], consistency_level="Strong"
        )
        assert changed[0]["label"] == 77
        found.promote(built, "better")
        assert found.search(digits.images[5], limit=1).ids == [5]
        reopened.ledger.verify()


@pytest.mark.crash
def test_a_deployment_killed_before_its_seal_is_sealed_by_a_resume(
    place: Place, endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits, child: Child
) -> None:
    workspace.close()
    assert child("die_before_seal") == -signal.SIGKILL
    with place.open() as reopened:
        found = reopened.endpoints.get(place.endpoint)
        assert found.deployment("digits-v2").state == "building"
        built = found.resume("digits-v2", digits.records())
        assert (built.state.value, built.n_records) == ("ready", N_RECORDS)
