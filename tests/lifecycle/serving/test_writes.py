from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from pymilvus import DataType, FieldSchema, MilvusException
from sklearn.decomposition import PCA

from roost.errors import InvalidData
from roost.lifecycle.backfill import CollectionSource, Progress
from roost.lifecycle.deployments import space
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving import traffic
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import N_RECORDS, Digits, Place


def rows(workspace: Workspace, endpoint: Endpoint, name: str, ids: Iterable[int]) -> dict[int, Any]:
    """Return the labels that a deployment stores under these ids."""
    found = workspace.vectors.query(
        endpoint.deployment(name).collection,
        filter=f"id in {list(ids)}",
        output_fields=["id", "label"],
        consistency_level="Strong",
    )
    return {row["id"]: row["label"] for row in found}


def test_a_write_reaches_the_champion_and_the_challenger_each_with_its_own_vectors(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    new = [
        {"id": 1500, "content": digits.images[1500], "label": 50},
        {"id": 3, "content": digits.images[900], "label": 51},
    ]
    assert contested.write(new) == 2
    for name in ("digits-v1", "digits-v2"):
        assert rows(workspace, contested, name, [1500, 3]) == {1500: 50, 3: 51}
    for name, version in (("digits-v1", 1), ("digits-v2", 2)):
        stored = workspace.vectors.query(
            contested.deployment(name).collection,
            filter="id == 1500",
            output_fields=["vector"],
            consistency_level="Strong",
        )
        expected = workspace.models.load("digits", version).embed(digits.images[1500:1501])
        np.testing.assert_allclose(stored[0]["vector"], expected[0], atol=1e-3)


def test_a_standby_keeps_up_so_a_rollback_loses_no_write(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    contested.promote("digits-v2", "better")
    contested.write([{"id": 1501, "content": digits.images[1501], "label": 52}])
    contested.delete([4])
    contested.rollback(reason="worse")
    assert rows(workspace, contested, "digits-v1", [1501, 4]) == {1501: 52}


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"id": 2, "label": 1}, "record 1 has no 'content'"), ({"content": np.zeros(64)}, "record 1 has no key 'id'")],
)
def test_a_record_that_is_not_whole_stops_the_write(
    endpoint: Endpoint, workspace: Workspace, digits: Digits, bad: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidData, match=message):
        endpoint.write([{"id": 1, "content": digits.images[1], "label": 99}, bad])
    assert rows(workspace, endpoint, "digits-v1", [1]) == {1: int(digits.labels[1])}


def test_content_that_cannot_be_embedded_stops_the_write(
    endpoint: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    with pytest.raises(InvalidData, match="cannot embed"):
        endpoint.write([{"id": 1, "content": np.zeros(63), "label": 99}])
    assert rows(workspace, endpoint, "digits-v1", [1]) == {1: int(digits.labels[1])}


def test_a_row_that_the_champion_refuses_is_written_nowhere(
    place: Place, workspace: Workspace, weak: ModelVersion, strong: ModelVersion, digits: Digits
) -> None:
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("label", DataType.INT64)]
    endpoint = workspace.endpoints.create(place.endpoint, fields=fields)
    endpoint.promote(endpoint.deploy(weak, digits.records(0, 50)), "first")
    endpoint.deploy(strong, digits.records(0, 50))
    with pytest.raises(MilvusException):
        endpoint.write([{"id": 60, "content": digits.images[60], "label": "not a number"}])
    assert {d.state.value for d in endpoint.deployments()} == {"serving", "ready"}
    assert rows(workspace, endpoint, "digits-v1", [60]) == rows(workspace, endpoint, "digits-v2", [60]) == {}


def test_nothing_to_write_is_no_error(endpoint: Endpoint) -> None:
    assert endpoint.write([]) == 0
    assert endpoint.delete([]) == 0
    assert endpoint.delete([123456]) == 1


def test_a_challenger_that_cannot_take_a_write_fails_alone(
    contested: Endpoint, workspace: Workspace, digits: Digits
) -> None:
    """Its collection is gone, as after an operator's mistake."""
    workspace.vectors.drop_collection(contested.deployment("digits-v2").collection)
    assert contested.write([{"id": 1502, "content": digits.images[1502], "label": 53}]) == 1
    assert rows(workspace, contested, "digits-v1", [1502]) == {1502: 53}
    assert contested.deployment("digits-v2").state == "failed"
    last = workspace.ledger.entries(contested.name)[-1]
    assert (last.action, last.subject) == ("fail", "digits-v2")
    contested.retire("digits-v2", "not needed")


def test_writes_during_a_backfill_win_over_its_older_records(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    done = []

    def change(at: Progress) -> None:
        if at.stage == "embed" and not done:
            early, late, doomed = 0, N_RECORDS - 1, N_RECORDS - 2
            endpoint.write([{"id": i, "content": digits.images[i], "label": 90} for i in (early, late)])
            endpoint.write([{"id": 5000, "content": digits.images[1], "label": 91}])
            endpoint.delete([doomed])
            done.append(doomed)

    built = endpoint.deploy(strong, digits.records(), batch_size=50, progress=change)
    assert done and built.n_records == N_RECORDS
    for name in ("digits-v1", "digits-v2"):
        found = rows(workspace, endpoint, name, [0, N_RECORDS - 1, N_RECORDS - 2, 5000])
        assert found == {0: 90, N_RECORDS - 1: 90, 5000: 91}


@pytest.fixture
def elsewhere(place: Place, endpoint: Endpoint) -> Iterator[Endpoint]:
    """The endpoint as another process of a server's workspace sees it; its follower is asleep."""
    if not place.uri:
        pytest.skip("one process owns an embedded database: set ROOST_MILVUS_URI")
    with place.open() as other:
        found = other.endpoints.get(place.endpoint)
        other.endpoints.close()
        yield found


def test_another_process_writes_to_a_deployment_that_it_has_not_heard_of(
    endpoint: Endpoint, elsewhere: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits
) -> None:
    done = []

    def change(at: Progress) -> None:
        if at.stage == "embed" and not done:
            done.append(at)
            elsewhere.write(
                [{"id": i, "content": digits.images[i % 1000], "label": 90} for i in (0, N_RECORDS - 1, 5000)]
            )
            elsewhere.delete([1, N_RECORDS - 2])

    endpoint.deploy(strong, digits.records(), batch_size=50, progress=change)
    for name in ("digits-v1", "digits-v2"):
        found = rows(workspace, endpoint, name, [0, 1, N_RECORDS - 2, N_RECORDS - 1, 5000])
        assert found == {0: 90, N_RECORDS - 1: 90, 5000: 90}


def test_a_write_of_another_process_waits_for_the_batch_that_holds_its_key_and_wins(
    endpoint: Endpoint,
    elsewhere: Endpoint,
    workspace: Workspace,
    strong: ModelVersion,
    digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upsert, writers = space.upsert, []

    def slowly(client: Any, deployment: Deployment, some: Any, vectors: Any) -> None:
        if client is workspace.vectors and not writers:
            newer = [{"id": some[0]["id"], "content": digits.images[7], "label": 91}]
            writers.append(threading.Thread(target=elsewhere.write, args=(newer,)))
            writers.append(threading.Thread(target=elsewhere.delete, args=([some[1]["id"]],)))
            for writer in writers:
                writer.start()
                writer.join(timeout=0.3)
                assert writer.is_alive()
        upsert(client, deployment, some, vectors)

    monkeypatch.setattr(space, "upsert", slowly)
    endpoint.deploy(strong, digits.records(), batch_size=50)
    for writer in writers:
        writer.join()
    for name in ("digits-v1", "digits-v2"):
        assert rows(workspace, endpoint, name, [0, 1]) == {0: 91}


def test_a_write_that_the_champion_refuses_does_not_keep_the_backfill_from_the_record(
    place: Place, workspace: Workspace, weak: ModelVersion, strong: ModelVersion, digits: Digits
) -> None:
    fields = [FieldSchema("id", DataType.INT64, is_primary=True), FieldSchema("label", DataType.INT64)]
    endpoint = workspace.endpoints.create(place.endpoint, fields=fields)
    endpoint.promote(endpoint.deploy(weak, digits.records()), "first")

    def refused(at: Progress) -> None:
        if at.stage == "embed" and at.n_done == 50:
            with pytest.raises(MilvusException):
                endpoint.write([{"id": N_RECORDS - 1, "content": digits.images[1], "label": "not a number"}])

    endpoint.deploy(strong, digits.records(), batch_size=50, rate_limit=500, progress=refused)
    last = {N_RECORDS - 1: int(digits.labels[N_RECORDS - 1])}
    assert rows(workspace, endpoint, "digits-v2", last) == rows(workspace, endpoint, "digits-v1", last) == last


def test_a_write_that_is_under_way_when_a_deployment_is_begun_is_not_lost_on_it(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys are never noted for a deployment that it knows nothing of, so the records must be read after it."""
    new = [{"id": i, "content": digits.images[i], "label": i, "pixels": digits.images[i].tolist()} for i in range(9)]
    endpoint.write(new)
    champion = endpoint.deployment("digits-v1").collection
    upsert, page = space.upsert, CollectionSource._page
    under_way, was_read = threading.Event(), threading.Event()

    def slowly(client: Any, deployment: Deployment, some: Any, vectors: Any) -> None:
        if threading.current_thread() is writer:
            under_way.set()
            was_read.wait(0.5)
        upsert(client, deployment, some, vectors)

    def watched(source: CollectionSource, last_key: Any) -> list[dict[str, Any]]:
        found = page(source, last_key)
        was_read.set()
        return found

    monkeypatch.setattr(space, "upsert", slowly)
    monkeypatch.setattr(CollectionSource, "_page", watched)
    writer = threading.Thread(target=endpoint.write, args=([{**new[7], "label": 91}],))
    writer.start()
    assert under_way.wait(30.0)
    source = CollectionSource(workspace.vectors, champion, "pixels", fields=["label"], filter="id < 9")
    endpoint.deploy(strong, source)
    writer.join()
    for name in ("digits-v1", "digits-v2"):
        assert rows(workspace, endpoint, name, [6, 7]) == {6: 6, 7: 91}


def test_a_deployment_that_comes_between_gets_vectors_of_its_own_model(
    endpoint: Endpoint, workspace: Workspace, strong: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store may give the number of a deployment that failed to the one that replaces it."""
    other = workspace.models.register("digits", SklearnEmbedder(PCA(16, svd_solver="full").fit(digits.images[900:])))

    def stop(at: Progress) -> None:
        if at.stage == "embed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        endpoint.deploy(strong, digits.records(), batch_size=50, name="next", progress=stop)
    embed, replaced = traffic.embed, list[Deployment]()

    def replacing(target: traffic.Target, contents: Any) -> Any:
        vectors = embed(target, contents)
        if target.deployment.name == "next" and not replaced:
            replaced.append(target.deployment)
            endpoint.cancel("next")
            replaced.append(endpoint.deploy(other, digits.records(0, 50), name="next"))
        return vectors

    monkeypatch.setattr(traffic, "embed", replacing)
    endpoint.write([{"id": 1500, "content": digits.images[1500], "label": 1}])
    assert len(replaced) == 2
    stored = workspace.vectors.query(
        replaced[1].collection, filter="id == 1500", output_fields=["vector"], consistency_level="Strong"
    )
    expected = workspace.models.load("digits", other.version).embed(digits.images[1500:1501])
    np.testing.assert_allclose(stored[0]["vector"], expected[0], atol=1e-3)


def test_a_record_that_the_model_refuses_is_named(contested: Endpoint, workspace: Workspace, digits: Digits) -> None:
    records: list[dict[str, Any]] = [
        {"id": 1600 + place, "content": digits.images[place], "label": 7} for place in range(4)
    ]
    records[2]["content"] = digits.images[2][:32]
    with pytest.raises(InvalidData, match=r"record 2, with the key 1602: .*cannot embed"):
        contested.write(records)
    records[2]["content"] = np.full(64, np.nan)
    with pytest.raises(InvalidData, match="record 2, with the key 1602"):
        contested.write(records)
    assert rows(workspace, contested, "digits-v1", range(1600, 1604)) == {}
