"""The whole walk on few images, embedded and on a server, and its parts."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from pymilvus import MilvusClient

from roost.demo.outcome import SwitchTiming
from roost.demo.steps import SilentWatcher
from roost.demo.traffic import Trace
from roost.demo.walk import drop_collections, first_of_each_class, measured_switches, prepare_folder, run_demo
from roost.errors import InvalidArgument
from roost.workspace import Workspace


def check_outcome(outcome):
    """Everything that does not depend on the speed of the machine."""
    assert {promise.text: promise.kept for promise in outcome.promises if "ms" not in promise.text} == {
        "No search fails": True,
        "The new champion answers at once": True,
        "The live test decides for the challenger": True,
        "The ledger verifies": True,
    }
    old, new = outcome.qualities
    assert (old.side, old.deployment, new.side, new.deployment) == (
        "champion",
        "image-pca-v1",
        "challenger",
        "image-pca-v2",
    )
    assert new.precision > old.precision
    assert [switch.action for switch in outcome.switches] == ["promote", "roll back", "promote again"]
    assert [switch.champion for switch in outcome.switches] == [new.deployment, old.deployment, new.deployment]
    assert [e.subject for e in outcome.ledger if e.action in ("promote", "rollback")] == [
        old.deployment,
        new.deployment,
        old.deployment,
        new.deployment,
    ]
    assert set(outcome.trace.deployments) == {old.deployment, new.deployment}
    assert len(outcome.examples) == 10


@pytest.mark.slow
def test_the_walk_keeps_its_promises_embedded(small_digits, tmp_path):
    outcome = run_demo(small_digits, tmp_path / "demo")
    check_outcome(outcome)
    assert outcome.uri == "embedded"
    assert gc.get_freeze_count() == 0
    with Workspace(tmp_path / "demo" / "workspace") as workspace:
        assert workspace.endpoints.get("image-search").champion.name == "image-pca-v2"


@pytest.mark.slow
@pytest.mark.milvus
def test_the_walk_keeps_its_promises_on_a_server(small_digits, tmp_path, milvus_uri):
    outcome = run_demo(small_digits, tmp_path / "demo", milvus_uri)
    check_outcome(outcome)
    client = MilvusClient(milvus_uri)
    prefix = outcome.endpoint.replace("-", "_")
    assert [name for name in client.list_collections() if name.startswith(prefix)] == []
    client.close()


class Interrupt(SilentWatcher):
    """Stops the demo as Ctrl-C does, at the beginning of a step."""

    def began(self, name):
        if name == "Live test on held-out images":
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_walk_leaves_a_workspace_that_opens_and_can_be_replaced(small_digits, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_demo(small_digits, tmp_path, watcher=Interrupt())
    with Workspace(tmp_path / "workspace") as workspace:
        assert workspace.ledger.verify() > 0
    assert not prepare_folder(tmp_path).exists()


@pytest.mark.milvus
def test_only_the_endpoints_own_collections_are_dropped(milvus_uri, milvus_prefix):
    client = MilvusClient(milvus_uri)
    own, other = f"{milvus_prefix}a__v1", f"{milvus_prefix}ab__v1"
    for name in (own, other):
        client.create_collection(name, dimension=4)
    client.create_alias(own, f"{milvus_prefix}alias")
    drop_collections(client, f"{milvus_prefix}a")
    assert not client.has_collection(own)
    assert client.has_collection(other)
    client.close()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InvalidArgument, match="--out"):
        prepare_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "demo").touch()
    with pytest.raises(InvalidArgument, match="not a folder"):
        prepare_folder(tmp_path / "demo")


def test_an_earlier_workspace_is_replaced(tmp_path):
    workspace = prepare_folder(tmp_path / "demo")
    workspace.mkdir()
    (workspace / "store.db").touch()
    assert prepare_folder(tmp_path / "demo") == workspace
    assert not workspace.exists()


def test_a_switch_is_measured_from_what_the_client_saw():
    started_s = np.arange(10) * 1.0
    trace = Trace(started_s, np.full(10, 0.5), np.asarray(["a", "a", "a", "b", "a", "b", "", "a", "a", "a"]))
    first = SwitchTiming("promote", "b", 2.2, 0.4, 0.9)
    second = SwitchTiming("roll back", "a", 6.2, 0.1, 0.2)
    measured = measured_switches([first, second], trace)
    # The query sent at 4 s is answered by the old champion; that of 2 s was sent before the switch.
    assert [switch.n_stale for switch in measured] == [1, 0]
    assert [switch.longest_gap_s for switch in measured] == pytest.approx([1.0, 2.0])


def test_a_pause_after_a_switch_counts_as_its_gap():
    done_s = np.asarray([0.9, 1.1, 1.2, 1.9, 2.4, 4.0])
    trace = Trace(done_s - 0.05, np.full(6, 0.05), np.asarray(["a", "b", "b", "b", "b", "b"]))
    (measured,) = measured_switches([SwitchTiming("promote", "b", 1.0, 0.01, 0.1)], trace)
    assert measured.longest_gap_s == pytest.approx(0.7)


def test_the_examples_are_the_first_of_each_class(small_digits):
    rows = np.arange(150 * 10).reshape(150, 10) % 300
    examples = first_of_each_class(small_digits, rows, rows[:, ::-1])
    assert [small_digits.held_out_labels[example.query] for example in examples] == list(range(10))
    assert examples[3].answers["champion"] == tuple(rows[examples[3].query])
