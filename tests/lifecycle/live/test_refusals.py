"""A challenger or a new champion whose model refuses the content that the endpoint's users send."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sklearn.decomposition import PCA

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.deployments.probation import Probation
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder
from roost.lifecycle.serving.search_endpoint import SearchEndpoint as Endpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits

RAILS = ("error_rate <= 0.01",)


@pytest.fixture
def narrow(endpoint: Endpoint, workspace: Workspace, digits: Digits) -> str:
    """A deployment whose model takes the first 32 columns alone, as no user sends them."""
    model = workspace.models.register("narrow", SklearnEmbedder(PCA(4).fit(digits.images[:200, :32])))
    records = [{**record, "content": record["content"][:32]} for record in digits.records(0, 60)]
    return endpoint.deploy(model, records).name


@pytest.mark.parametrize("method", ["interleave", "split", "shadow"])
def test_a_challenger_that_refuses_what_the_champion_answers_is_stopped(
    endpoint: Endpoint, narrow: str, digits: Digits, method: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "roost")
    test = endpoint.start_test(narrow, method=method, guardrails=RAILS, seed=1)
    answers = [endpoint.search(digits.images[position], limit=3) for position in range(40)]
    assert test.drain()
    assert {answer.deployment for answer in answers} == {"digits-v1"}
    status = test.status()
    assert (status.state, status.arms[1].n_answers > 0) == ("stopped", True)
    assert status.arms[1].n_errors == status.arms[1].n_answers and status.arms[0].n_errors == 0
    assert status.reason.startswith(f"{narrow} broke error_rate <= 0.01")
    assert sum("cannot answer what the champion answers" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("method", ["interleave", "split", "shadow"])
def test_what_the_champion_refuses_too_is_no_challenger_s_error(
    contested: Endpoint, digits: Digits, method: Any
) -> None:
    test = contested.start_test("digits-v2", method=method, guardrails=RAILS, seed=1)
    for position in range(20):
        with pytest.raises(InvalidData):
            contested.search(digits.images[position][:32])
        with pytest.raises(InvalidArgument):
            contested.search(digits.images[position], search_params={"efx": 3})
    assert test.drain()
    status = test.status()
    assert (status.state, [arm.n_errors for arm in status.arms]) == ("running", [0, 0])


def test_a_new_champion_that_refuses_its_users_is_rolled_back(
    endpoint: Endpoint, workspace: Workspace, narrow: str, digits: Digits
) -> None:
    workspace.monitors.watch(endpoint.name, rules=[], window_s=1e7)
    endpoint.promote(narrow, "better", probation=Probation(RAILS))
    for position in range(40):
        if endpoint.champion is not None and endpoint.champion.name == narrow:
            with pytest.raises(InvalidData, match="cannot embed"):
                endpoint.search(digits.images[position])
    workspace.flush_events()
    endpoint.review()
    assert endpoint.champion is not None and endpoint.champion.name == "digits-v1"
    assert "error_rate <= 0.01" in workspace.ledger.entries(endpoint.name)[-1].reason
    report = workspace.monitors.report(endpoint.name)
    [figures] = [one for one in report.figures if one.deployment == narrow]
    assert figures.metrics["error_rate"] == 1.0 and figures.metrics["refused"] == 0
    assert "refused" in repr(report)


def test_arguments_that_are_wrong_do_not_roll_a_new_champion_back(contested: Endpoint, digits: Digits) -> None:
    contested.promote("digits-v2", "better", probation=Probation(RAILS))
    for position in range(40):
        with pytest.raises(InvalidArgument):
            contested.search(digits.images[position], search_params={"efx": 3})
    contested._context.recorder.flush()
    assert contested.review() is None
    assert contested.champion is not None and contested.champion.name == "digits-v2"
