from __future__ import annotations

import pytest
from pymilvus import DataType, FieldSchema

from roost.errors import AlreadyExists, EndpointNotFound, InvalidArgument, InvalidName, InvalidSchema, InvalidTransition
from roost.lifecycle.registry import ModelVersion
from roost.workspace import Workspace

from .conftest import Digits, Place

KEY = FieldSchema("sku", DataType.VARCHAR, is_primary=True, max_length=32)


def test_an_endpoint_is_found_again(place: Place) -> None:
    with place.open() as workspace:
        made = workspace.endpoints.create(place.endpoint, metric="COSINE", description="finds images")
        assert workspace.endpoints.get(place.endpoint) is made
    with place.open() as workspace:
        assert workspace.endpoints.list() == [place.endpoint]
        found = workspace.endpoints.get(place.endpoint)
        assert (found.metric, found.description, found.champion) == ("COSINE", "finds images", None)
        assert repr(found) == f"Endpoint('{place.endpoint}', champion=None)"


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
