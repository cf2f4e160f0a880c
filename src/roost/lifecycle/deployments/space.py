"""A deployment's vectors in the engine: the collection, its index, its rows, its alias."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pymilvus import CollectionSchema, DataType, FieldSchema
from pymilvus import exceptions as milvus

from roost.errors import (
    AlreadyExists,
    CollectionNotFound,
    FingerprintMismatch,
    InvalidArgument,
    InvalidSchema,
    WorkspaceError,
)
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.models.embedders.base import FloatArray

if TYPE_CHECKING:
    from roost.client import Client

VECTOR = "vector"
"""The vector field of every deployment's collection."""

CONTENT = "content"
"""The key of a record that goes to the embedder and is not stored."""

METRICS = ("L2", "IP", "COSINE")
DEFAULT_INDEX: Mapping[str, Any] = {"index_type": "HNSW", "M": 16, "efConstruction": 200}

FINGERPRINT = "space.fingerprint"
"""The collection's property that holds the fingerprint of the model whose vectors it has."""

_DEPLOYMENT, _TOKEN = "space.deployment", "space.token"


@dataclass(frozen=True)
class Payload:
    """What an endpoint stores of a record beside its vector: the key, and fields that are declared.

    Other keys of a record go into the collection's dynamic field.
    """

    fields: tuple[FieldSchema, ...]
    metric: str

    @cached_property
    def key(self) -> str:
        """The name of the primary key."""
        return next(str(field.name) for field in self.fields if field.is_primary)

    def to_json(self) -> str:
        """Return the fields as text; the metric is kept apart."""
        return json.dumps([{**field.to_dict(), "type": int(field.dtype)} for field in self.fields], sort_keys=True)

    @classmethod
    def from_json(cls, fields: str, metric: str) -> Payload:
        return cls(tuple(FieldSchema.construct_from_dict(raw) for raw in json.loads(fields)), metric)


def payload(fields: Sequence[FieldSchema] | None, metric: str) -> Payload:
    """Check what the records of an endpoint look like.

    Args:
        fields: with exactly one primary key, without vectors; by default an INT64 key `id`.
    Raises:
        InvalidSchema: the fields have not one primary key, hold a vector, or a name that is taken.
        InvalidArgument: the metric is not one of METRICS.
    """
    if metric not in METRICS:
        raise InvalidArgument(f"metric {metric!r} is not known; use one of {', '.join(METRICS)}")
    chosen = tuple(fields) if fields is not None else (FieldSchema("id", DataType.INT64, is_primary=True),)
    keys = [field.name for field in chosen if field.is_primary]
    if len(keys) != 1:
        raise InvalidSchema(f"an endpoint's fields need exactly one primary key; they have {len(keys)}")
    for field in chosen:
        if field.name in (VECTOR, CONTENT):
            raise InvalidSchema(f"the field name {field.name!r} is taken: choose another")
        if field.dtype >= DataType.BINARY_VECTOR:
            raise InvalidSchema(f"field {field.name!r} is a vector: the endpoint adds the vector field by itself")
        if field.auto_id:
            raise InvalidSchema(
                f"field {field.name!r} cannot be an auto id: every deployment must know a record by one key"
            )
    return Payload(chosen, metric)


def check_free(client: Client, collection: str) -> None:
    """Check that a collection can be made.

    Raises: AlreadyExists: there is one of its name.
    """
    # Another workspace on the same server may have the same model under the same names.
    if client.has_collection(collection):
        raise AlreadyExists(f"the vector engine has a collection {collection!r} already, of another origin")


def create(client: Client, deployment: Deployment, payload: Payload, token: str) -> None:
    """Create the deployment's empty collection, marked with the fingerprint of its space.

    The index is tried on it, so that one that cannot be is refused before anything is embedded.

    Args:
        token: a mark of this very collection; see `token_of`.
    Raises: pymilvus.MilvusException: the engine refuses the index; the caller drops the collection.
    """
    schema = CollectionSchema(
        [*payload.fields, FieldSchema(VECTOR, DataType.FLOAT_VECTOR, dim=deployment.dim)],
        enable_dynamic_field=True,
        description=f"deployment {deployment.name} of endpoint {deployment.endpoint}, model {deployment.model}",
    )
    marks = {
        FINGERPRINT: deployment.fingerprint,
        _DEPLOYMENT: f"{deployment.endpoint}/{deployment.name}",
        _TOKEN: token,
    }
    client.create_collection(deployment.collection, schema=schema, properties=marks)
    _create_index(client, deployment.collection, payload, deployment.index)
    client.drop_index(deployment.collection, VECTOR)


def token_of(client: Client, collection: str) -> str | None:
    """Return the mark that a collection was created with; None where there is no such collection, or no mark."""
    return _properties(client, collection).get(_TOKEN) if client.has_collection(collection) else None


def check(client: Client, deployment: Deployment) -> None:
    """Check that the collection is the one whose vectors the deployment's model wrote.

    Raises:
        CollectionNotFound: the vector engine has no such collection.
        FingerprintMismatch: the collection carries another model's fingerprint, or none.
    """
    if not client.has_collection(deployment.collection):
        raise CollectionNotFound(f"the vector engine has no collection {deployment.collection!r} any more")
    found = _properties(client, deployment.collection).get(FINGERPRINT)
    if found != deployment.fingerprint:
        raise FingerprintMismatch(
            f"collection {deployment.collection!r} carries the fingerprint {found}; "
            f"deployment {deployment.name!r} was made by {deployment.fingerprint}"
        )


def build_index(client: Client, collection: str, payload: Payload, chosen: Mapping[str, Any]) -> None:
    """Make every row durable and build the index over them.

    Args:
        chosen: the index's type and parameters.
    """
    client.flush(collection)
    _create_index(client, collection, payload, chosen)


def _create_index(client: Client, collection: str, payload: Payload, chosen: Mapping[str, Any]) -> None:
    params = dict(chosen)
    index = client.prepare_index_params()
    index.add_index(
        VECTOR, index_name=VECTOR, index_type=params.pop("index_type"), metric_type=payload.metric, params=params
    )
    client.create_index(collection, index)


def try_search(client: Client, deployment: Deployment, metric: str) -> None:
    """Search the loaded collection once as the deployment's searches will.

    Raises:
        WorkspaceError: the engine refuses the deployment's search parameters.
        pymilvus.MilvusException: it does not answer without them either.
    """
    vector = np.full(deployment.dim, deployment.dim**-0.5, np.float32)

    def search(params: Mapping[str, Any]) -> None:
        search_params = {"metric_type": metric, "params": dict(params)}
        client.search(deployment.collection, data=[vector], anns_field=VECTOR, limit=1, search_params=search_params)

    try:
        search(deployment.search_params)
    except (milvus.MilvusException, TypeError, ValueError) as error:
        if not deployment.search_params:
            raise
        search({})
        raise WorkspaceError(
            f"the vector engine refuses to search with the parameters {dict(deployment.search_params)} of deployment "
            f"{deployment.name!r}: {getattr(error, 'message', error)}"
        ) from error


def count(client: Client, deployment: Deployment) -> int:
    """Return the number of rows in the loaded collection, every write that has returned included."""
    rows = client.query(deployment.collection, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return int(rows[0]["count(*)"])


def upsert(
    client: Client,
    deployment: Deployment,
    rows: Sequence[Mapping[str, Any]],
    vectors: FloatArray | Sequence[FloatArray],
) -> None:
    """Write rows with their vectors, which are new or replace what has the same key."""
    data = [{**row, VECTOR: vector} for row, vector in zip(rows, vectors, strict=True)]
    client.upsert(deployment.collection, data)


def drop(client: Client, collection: str) -> None:
    """Drop a collection with its aliases, where it is there."""
    if client.has_collection(collection):
        for alias in _aliases(client, collection):
            client.drop_alias(alias)
        client.drop_collection(collection)


def point_alias(client: Client, alias: str, collection: str, others: Sequence[str]) -> None:
    """Let the alias name the collection.

    Args:
        others: the collections that the alias may name now; those that are gone do not matter.
    Raises: CollectionNotFound: the collection is gone.
    """
    present = set(client.list_collections())
    if collection not in present:
        raise CollectionNotFound(f"the vector engine has no collection {collection!r} any more")
    if alias in _aliases(client, collection):
        return
    if any(alias in _aliases(client, other) for other in others if other in present):
        client.alter_alias(collection, alias)
    else:
        client.create_alias(collection, alias)


def _aliases(client: Client, collection: str) -> list[str]:
    found: Any = client.list_aliases(collection)
    return list(found["aliases"])


def _properties(client: Client, collection: str) -> dict[str, str]:
    return dict(client.describe_collection(collection).get("properties") or {})
