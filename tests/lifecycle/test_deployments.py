from __future__ import annotations

from itertools import product

import pytest

from roost.errors import InvalidTransition
from roost.lifecycle.deployments import State, move, seal
from roost.lifecycle.store.tables import DeploymentRow

ALLOWED = {
    ("building", "ready"),
    ("building", "failed"),
    ("building", "retired"),
    ("ready", "serving"),
    ("ready", "failed"),
    ("ready", "retired"),
    ("serving", "ready"),
    ("failed", "retired"),
}


def row(**changes: object) -> DeploymentRow:
    values: dict[str, object] = {
        "name": "v1",
        "collection": "c",
        "state": "building",
        "model_name": "digits",
        "model_version": 1,
        "fingerprint": "sha256:1",
        "dim": 4,
        "index_params": "{}",
        "search_params": "{}",
    }
    return DeploymentRow(**{**values, **changes})


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_a_deployment_goes_only_where_it_may(before: State, after: State) -> None:
    deployment = row(state=before.value)
    if (before.value, after.value) in ALLOWED:
        move(deployment, after)
        assert deployment.state == after.value
    else:
        with pytest.raises(InvalidTransition, match=f"'v1' is {before.value} and cannot become {after.value}"):
            move(deployment, after)
        assert deployment.state == before.value


def test_the_seal_changes_with_every_part_of_the_configuration() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"collection": "d"},
        {"model_version": 2},
        {"fingerprint": "sha256:2"},
        {"index_params": '{"M":8}'},
        {"search_params": '{"ef":8}'},
    ]
    seals = {seal(row(**change), "L2", "[]") for change in changes} | {
        seal(row(), "IP", "[]"),
        seal(row(), "L2", "[1]"),
    }
    assert len(seals) == len(changes) + 2
    assert seal(row(), "L2", "[]") == seal(row(state="ready"), "L2", "[]")
