from __future__ import annotations

import pytest
from pymilvus import DataType, FieldSchema

from roost.errors import AlreadyExists, EndpointNotFound, InvalidArgument, InvalidName, InvalidSchema, InvalidTransition
from roost.lifecycle.models.registry import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits, Place

KEY = FieldSchema("sku", DataType.VARCHAR, is_primary=True, max_length=32)


def test_an_endpoint_is_found_again(place: Place) -> None:
    with place.open() as workspace:
        made = workspace.endpoints.create(place.endpoint, metric="COSINE", description="finds images")
        assert workspace.endpoints.get(place.endpoint) is made
    with place.open() as workspace:
        assert workspace.endpoints.list() == [place.endpoint]
        found = workspace.endpoints.get(place.endpoint)
        assert (found.metric, found.description, found.champion) == ("COSINE", "finds images", None)
        assert repr(found) == f"SearchEndpoint('{place.endpoint}', champion=None)"


def test_names_are_checked_and_taken_once(workspace: Workspace) -> None:
    workspace.endpoints.create("image-search")
    with pytest.raises(AlreadyExists, match="'image-search'"):
        workspace.endpoints.create("image-search")
    with pytest.raises(AlreadyExists, match="'image-search'"):
        workspace.endpoints.create("image_search")
    with pytest.raises(InvalidName):
        workspace.endpoints.create("image search")
    with pytest.raises(EndpointNotFound, match=r"'other' \(there are: image-search\)"):
        workspace.endpoints.get("other")
    with pytest.raises(EndpointNotFound, match="did you mean 'image-search'"):
        workspace.endpoints.get("image-serach")
    assert [entry.action for entry in workspace.ledger.entries()] == ["endpoint.create"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "exactly one primary key"),
        ([KEY, FieldSchema("id", DataType.INT64, is_primary=True)], "exactly one primary key"),
        ([KEY, FieldSchema("vector", DataType.INT64)], "'vector' is taken"),
        ([KEY, FieldSchema("content", DataType.INT64)], "'content' is taken"),
        ([KEY, FieldSchema("other", DataType.FLOAT_VECTOR, dim=4)], "is a vector"),
        ([FieldSchema("id", DataType.INT64, is_primary=True, auto_id=True)], "auto id"),
    ],
)
def test_fields_that_cannot_be_are_refused(workspace: Workspace, fields: list[FieldSchema], message: str) -> None:
    with pytest.raises(InvalidSchema, match=message):
        workspace.endpoints.create("search", fields=fields)
    assert workspace.endpoints.list() == []


def test_an_unknown_metric_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InvalidArgument, match="L2, IP, COSINE"):
        workspace.endpoints.create("search", metric="EUCLID")


def test_declared_fields_and_text_keys_work(
    place: Place, workspace: Workspace, weak: ModelVersion, digits: Digits
) -> None:
    fields = [KEY, FieldSchema("label", DataType.INT64)]
    endpoint = workspace.endpoints.create(place.endpoint, metric="COSINE", fields=fields)
    records = [
        {"sku": f"n{r['id']}", "content": r["content"], "label": r["label"], "extra": 1} for r in digits.records()
    ]
    endpoint.promote(endpoint.deploy(weak, records), "first")
    answer = endpoint.search(digits.images[5], limit=3, filter="extra == 1", output_fields=["label", "extra"])
    assert answer.ids[0] == "n5" and answer.hits[0].fields == {"label": int(digits.labels[5]), "extra": 1}
    endpoint.delete(["n5"])
    endpoint.write([{"sku": "n6", "content": digits.images[7], "label": 9}])


def test_without_a_champion_there_is_no_answer(workspace: Workspace, digits: Digits) -> None:
    endpoint = workspace.endpoints.create("search")
    with pytest.raises(InvalidTransition, match="no champion yet"):
        endpoint.search(digits.images[0])
    with pytest.raises(InvalidTransition, match="no deployment yet"):
        endpoint.write(digits.records(0, 1))


def test_environments_are_apart(place: Place, workspace: Workspace, weak: ModelVersion, digits: Digits) -> None:
    production = workspace.endpoints.create(place.endpoint)
    staging = workspace.endpoints.create(place.endpoint, environment="staging", owner="ann")
    assert (production.environment, staging.environment, staging.owner) == ("production", "staging", "ann")
    assert staging.name == f"{place.endpoint}@staging"
    assert workspace.endpoints.get(staging.name) is staging
    assert workspace.endpoints.list() == [production.name, staging.name]
    assert workspace.endpoints.list("staging") == [staging.name]
    assert workspace.endpoints.list(environment="dev") == []
    staging.promote(staging.deploy(weak, digits.records(0, 50)), "try it")
    assert staging.search(digits.images[3], limit=1).endpoint == staging.name
    described = workspace.vectors.describe_collection(staging.alias)
    assert described["collection_name"] == f"{staging.alias}__digits_v1"
    assert production.champion is None and production.deployments() == []
    with pytest.raises(InvalidName):
        workspace.endpoints.create("search@staging")
    with pytest.raises(AlreadyExists, match="@staging"):
        workspace.endpoints.create(f"{place.endpoint}-at-staging")


def test_an_endpoint_is_shown_in_a_notebook(endpoint: SearchEndpoint) -> None:
    shown = endpoint._repr_html_()
    assert "digits-v1" in shown and "serving" in shown and "digits/1" in shown
