from __future__ import annotations

import time

import pytest
from sqlalchemy import select

from roost.lifecycle.promotion import write_champion
from roost.lifecycle.search_endpoint import SearchEndpoint as Endpoint
from roost.lifecycle.store import Store
from roost.lifecycle.store.tables import EndpointRow

from .conftest import Digits, Place


def promote_elsewhere(place: Place, name: str) -> None:
    """Change the endpoint's row as another process does."""
    store = Store(f"sqlite:///{place.home / 'store.db'}")
    with store.write() as session:
        row = session.scalars(select(EndpointRow)).one()
        write_champion(session, row, name, "bob", "promote", "", {})
        row.version += 1
    store.close()


def test_another_process_s_promotion_is_followed(place: Place, contested: Endpoint, digits: Digits) -> None:
    promote_elsewhere(place, "digits-v2")
    for _ in range(100):
        if contested.search(digits.images[0]).deployment == "digits-v2":
            break
        time.sleep(0.05)
    assert contested.search(digits.images[0]).deployment == "digits-v2"
    contested.rollback(reason="worse")


def test_what_cannot_be_opened_is_reported_and_the_endpoint_answers(
    place: Place, contested: Endpoint, digits: Digits, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process deployed a model whose files this process cannot read."""
    store = Store(f"sqlite:///{place.home / 'store.db'}")
    with store.write() as session:
        session.connection().exec_driver_sql(
            "INSERT INTO roost_deployments (endpoint_id, name, collection, state, model_name, model_version,"
            " model_files, fingerprint, dim, index_params, search_params, n_records, created_at) SELECT endpoint_id,"
            " 'other', 'other', state, model_name, model_version, replace(model_files, 'models/', 'lost/'),"
            " fingerprint, dim, index_params, search_params, 0, created_at FROM roost_deployments LIMIT 1"
        )
        session.scalars(select(EndpointRow)).one().version += 1
    store.close()
    for _ in range(100):
        if "cannot be opened" in caplog.text:
            break
        time.sleep(0.05)
    assert "manifest.json is missing" in caplog.text
    assert contested.deployment("digits-v2").state == "ready"
    assert contested.search(digits.images[0]).deployment == "digits-v1"
