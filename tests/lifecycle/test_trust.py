from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import InvalidArgument, UnsafeModel
from roost.lifecycle.models.embedders.cached import CachedEmbedder
from roost.lifecycle.models.embedders.callable import CallableEmbedder
from roost.lifecycle.models.model import model_class
from tests.lifecycle.conftest import Digits, Place


def corners(images: Any) -> Any:
    return np.asarray(images)[:, [2, 3, 20, 21]]


PATH = f"{__name__}:corners"


def test_a_function_is_deployed_by_a_process_that_trusts_it(place: Place, digits: Digits) -> None:
    with place.open() as doubtful:
        version = doubtful.models.register("corners", CallableEmbedder(corners, dim=4))
        endpoint = doubtful.endpoints.create(place.endpoint)
        with pytest.raises(UnsafeModel, match=r"`register` for its files or to `Workspace`"):
            endpoint.deploy(version, digits.records(0, 20))
        assert endpoint.deployments() == []
        assert doubtful.vectors.list_collections() == [] or place.uri
    with place.open(trusted=[PATH]) as trusting:
        assert trusting.models.load("corners/1").dim == 4
        endpoint = trusting.endpoints.get(place.endpoint)
        built = endpoint.deploy(version, digits.records(0, 20))
        endpoint.promote(built, "the first")
        assert endpoint.search(digits.images[7], limit=1).deployment == "corners-v1"
    with place.open() as doubtful, pytest.raises(UnsafeModel):
        doubtful.models.load("corners/1")


def test_trust_is_given_as_several_names(place: Place) -> None:
    with pytest.raises(InvalidArgument, match=r"trusted=\['shop:embed'\]"):
        place.open(trusted="shop:embed")


def test_another_process_learns_what_it_has_to_trust(tmp_path: Path, digits: Digits) -> None:
    embedder = CachedEmbedder(CallableEmbedder(corners, dim=4))
    embedder.save(tmp_path)
    loaded = model_class(embedder.kind).load(tmp_path, embedder.trusted)
    assert loaded.fingerprint == embedder.fingerprint
    assert list(CachedEmbedder(digits.embedder(2)).trusted) == []
