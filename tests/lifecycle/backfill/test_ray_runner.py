from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from roost.errors import MissingDependency
from roost.lifecycle.backfill.ray_runner import RayWorkers
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, in its threads and at its end
def test_ray_fills_a_deployment_with_the_same_vectors(
    empty_endpoint: Endpoint, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    if find_spec("ray") is None:
        pytest.skip("needs ray: pip install 'roost[ray]'")
    records = digits.records()
    records[7] = {"id": 7, "content": np.full(64, np.nan)}
    seen: list[set[str]] = []

    def look(_: object) -> None:
        ray = sys.modules["ray"]
        if ray.is_initialized() and not seen:
            seen.append({node["NodeManagerAddress"] for node in ray.nodes()})

    built = empty_endpoint.deploy(weak, records, batch_size=50, workers=2, runner="ray", progress=look)
    assert (built.n_records, built.n_rejected) == (299, 1)
    assert seen == [{"127.0.0.1"}]
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and not sys.modules["ray"].is_initialized()
    stored = workspace.vectors.query(
        built.collection, filter="id in [0, 299]", output_fields=["id", "vector"], consistency_level="Strong"
    )
    embedder = workspace.models.load(weak)
    for row in stored:
        np.testing.assert_allclose(row["vector"], embedder.embed(digits.images[[row["id"]]])[0], rtol=1e-4, atol=1e-3)


def test_without_ray_the_extra_is_named(
    empty_endpoint: Endpoint, weak: ModelVersion, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"roost\[ray\]"):
        empty_endpoint.deploy(weak, digits.records(), runner="ray")
    assert empty_endpoint.deployments() == []
    with pytest.raises(MissingDependency, match=r"roost\[ray\]"):
        RayWorkers(digits.embedder(2), 1)
