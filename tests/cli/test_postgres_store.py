"""The commands on a workspace whose store is in PostgreSQL: the database's URL stands for the directory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sqlalchemy.engine import make_url

from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.workspace import Workspace

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(postgres_url, tmp_path):
    images = np.random.default_rng(3).random((40, 16), dtype=np.float32)
    with Workspace(tmp_path / "w", store=postgres_url, artifacts=tmp_path / "a", actor="ada") as workspace:
        endpoint = workspace.endpoints.create("image-search")
        model = workspace.models.register("pca", SklearnEmbedder(PCA(2, random_state=0).fit(images)))
        records = [{"id": row, "content": image} for row, image in enumerate(images)]
        endpoint.promote(endpoint.deploy(model, records), reason="the first")
    return postgres_url


def test_commands_that_look_take_the_url_and_show_no_password(roost, store):
    password = make_url(store).password
    listed = roost("endpoint", "list", store, "--json")
    shown = roost("endpoint", "show", store)
    entries = roost("ledger", "show", store)
    verified = roost("ledger", "verify", store)
    for result in (listed, shown, entries, verified):
        assert result.exit_code == 0, result.stderr
        assert password not in result.stdout + result.stderr
    assert "pca-v1" in shown.stdout and "the first" in entries.stdout
    assert "the chain is whole" in verified.stdout
    assert [endpoint["name"] for endpoint in json.loads(listed.stdout)] == ["image-search"]


def test_what_the_server_refuses_is_one_line_without_the_password(roost, store):
    wrong = make_url(store).set(password="hunter2").render_as_string(hide_password=False)
    result = roost("ledger", "verify", wrong)
    assert result.exit_code == 1
    assert "password authentication failed" in result.stderr and "hunter2" not in result.stderr


def test_a_database_without_a_workspace_is_refused_and_left_as_it_was(roost, postgres_url):
    for _ in range(2):
        result = roost("endpoint", "list", postgres_url)
        assert result.exit_code == 1
        assert "holds no workspace" in result.stderr
