from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from roost.lifecycle.models.data_versions import data_digest
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits


def recorded(workspace: Workspace, run_id: str) -> Any:
    from mlflow.tracking import MlflowClient

    url = workspace._tracking.url
    return MlflowClient(tracking_uri=url, registry_uri=url).get_run(run_id)


def test_a_run_records_what_is_needed_to_repeat_it(workspace: Workspace, digits: Digits) -> None:
    with workspace.runs.start("train-pca", params={"n_components": 4}, data=digits.images, seed=7) as run:
        run.log_metric("precision", 0.78)
        run.log_metrics({"loss": 2.0}, step=1)
        run.log_metrics({"loss": 1.0}, step=2)
        run.set_tags({"note": "first"})
    found = recorded(workspace, run.id)
    assert found.info.status == "FINISHED" and found.info.run_name == "train-pca"
    assert found.data.params == {"n_components": "4"}
    assert found.data.metrics == {"precision": 0.78, "loss": 1.0}
    tags = found.data.tags
    assert tags["roost.data.digest"] == data_digest(digits.images) and tags["roost.data.shape"] == "(1797, 64)"
    assert (tags["roost.seed"], tags["mlflow.user"], tags["note"]) == ("7", "tester", "first")
    assert tags["roost.env.numpy"] == np.__version__ and "roost.env.python" in tags


@pytest.mark.parametrize(("error", "status"), [(ValueError("no data"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_run_that_raises_is_marked(workspace: Workspace, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), workspace.runs.start("train") as run:
        raise error
    found = recorded(workspace, run.id)
    assert found.info.status == status
    assert found.data.tags.get("roost.error") == ("ValueError: no data" if status == "FAILED" else None)


def test_the_digest_of_data_is_of_values_shape_and_type() -> None:
    data = np.arange(6, dtype=np.float32)
    others = [data.reshape(2, 3), data.astype(np.float64), data + 1]
    assert data_digest(data) == data_digest(data.copy())
    assert len({data_digest(other) for other in [data, *others]}) == 4


@pytest.mark.timeout(60)
def test_who_moves_an_alias_does_not_wait_for_who_makes_the_experiment(workspace: Workspace) -> None:
    """Both take turns at MLflow, and who has the turn uses its client."""
    tracking = workspace._tracking
    assert tracking.client is not None
    with tracking.turn:
        asking = threading.Thread(target=lambda: tracking.experiment_id)
        asking.start()
        asking.join(0.2)
        assert asking.is_alive() and tracking.client is not None
    asking.join()
    assert tracking.client.get_experiment(tracking.experiment_id).name == "roost"
