from __future__ import annotations

from itertools import product

import pytest

from roost.errors import InvalidTransition
from roost.lifecycle.deployments.deployment import (
    State,
    configuration_of,
    deployment_of,
    is_kept,
    mark_purged,
    move,
    note,
    seal,
)
from roost.lifecycle.store.tables import DeploymentRow

ALLOWED = {
    ("draft", "building"),
    ("draft", "retired"),
    ("building", "ready"),
    ("building", "failed"),
    ("building", "retired"),
    ("ready", "serving"),
    ("ready", "failed"),
    ("ready", "retired"),
    ("serving", "ready"),
    ("failed", "retired"),
    ("retired", "serving"),
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


def test_what_was_purged_goes_nowhere() -> None:
    kept, never_sealed = row(state="retired", seal="sha256:1"), row(state="retired")
    assert is_kept(kept) and not is_kept(never_sealed) and not is_kept(row(state="ready", seal="sha256:1"))
    with pytest.raises(InvalidTransition, match="'v1' is ready: retire it before"):
        mark_purged(row(state="ready"), "2026-01-01")
    mark_purged(kept, "2026-01-01")
    assert not is_kept(kept)
    with pytest.raises(InvalidTransition, match="was purged: its vectors are gone"):
        move(kept, State.SERVING)
    with pytest.raises(InvalidTransition, match="was purged already"):
        mark_purged(kept, "2026-01-02")


def test_notes_keep_what_others_noted() -> None:
    deployment = row()
    note(deployment, delivered_from="search@staging/v1")
    note(deployment, other_classes=True)
    assert configuration_of(deployment) == {"delivered_from": "search@staging/v1", "other_classes": True}


def test_a_deployment_is_shown_in_words_and_in_a_notebook() -> None:
    shown = deployment_of(row(id=1, n_records=1200, n_stored=0, n_rejected=0, created_at="now", state="ready"), "<b>")
    assert repr(shown) == "Deployment('v1' of '<b>', ready, model digits/1, 1,200 records)"
    assert "digits/1" in shown._repr_html_() and "<b>v1" not in shown._repr_html_()
