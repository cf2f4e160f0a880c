"""Each promise, kept and broken."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from roost.demo.outcome import LiveTestResult, Look, in_milliseconds
from roost.demo.traffic import Trace


def test_an_outcome_without_a_blemish_keeps_every_promise(make_outcome):
    assert make_outcome().kept


def broken(outcome):
    return [promise.text for promise in outcome.promises if not promise.kept]


def test_one_failed_query_breaks_a_promise(make_outcome):
    trace = make_outcome().trace
    deployments = trace.deployments.copy()
    deployments[7] = ""
    outcome = make_outcome(trace=replace(trace, deployments=deployments, messages=("Timeout: too late",)))
    assert broken(outcome) == ["No search fails"]
    assert outcome.promises[0].measured == "1 of 400 failed; the first: Timeout: too late"
    assert not outcome.kept


def test_no_query_at_all_is_no_proof(make_outcome):
    nothing = Trace(np.empty(0), np.empty(0), np.empty(0, dtype=str))
    assert broken(make_outcome(trace=nothing)) == ["No search fails"]


@pytest.mark.parametrize("seconds", [0.050, 0.3])
def test_one_slow_switch_breaks_a_promise(make_outcome, seconds):
    switch = make_outcome().switches[0]
    outcome = make_outcome(switches=(switch, replace(switch, seconds=seconds)))
    assert broken(outcome) == ["Each switch takes less than 50 ms"]


def test_no_switch_at_all_is_no_proof(make_outcome):
    assert broken(make_outcome(switches=())) == ["Each switch takes less than 50 ms"]


def test_a_late_answer_of_the_old_champion_breaks_a_promise(make_outcome):
    switch = make_outcome().switches[0]
    assert broken(make_outcome(switches=(replace(switch, n_stale=1),))) == ["The new champion answers at once"]


@pytest.mark.parametrize("decision", ["champion", "undecided"])
def test_a_test_that_does_not_find_the_challenger_better_breaks_a_promise(make_outcome, decision):
    outcome = make_outcome(live_test=LiveTestResult(0.05, decision, (Look(3, 1, 1, 1, 0.9),)))
    assert broken(outcome) == ["The live test decides for the challenger"]
    assert outcome.promises[3].measured == f"{decision} after 3 queries, p = 0.9"


def test_a_broken_ledger_breaks_a_promise(make_outcome):
    outcome = make_outcome(ledger_error="ledger row 2 was altered")
    assert broken(outcome) == ["The ledger verifies"]
    assert outcome.promises[4].measured == "ledger row 2 was altered"


def test_an_empty_ledger_is_no_proof(make_outcome):
    assert broken(make_outcome(ledger=())) == ["The ledger verifies"]


def test_the_figures_are_json(make_outcome):
    switch = replace(make_outcome().switches[0], longest_gap_s=float("inf"))
    figures = make_outcome(switches=(switch,)).to_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["kept"] is True
    assert figures["background"] == {"n_queries": 400, "n_failed": 0, "failures": []}
    assert figures["live_test"]["decision"] == "challenger"
    assert figures["live_test"]["n_queries"] == 2
    assert figures["switches"][0]["longest_gap_s"] is None
    assert figures["precision_at_10"] == {"image-pca-v1": 0.7, "image-pca-v2": 0.9}


@pytest.mark.parametrize(("seconds", "text"), [(0.0012, "1.2 ms"), (0.0123, "12 ms"), (1.5, "1500 ms")])
def test_durations_carry_their_unit(seconds, text):
    assert in_milliseconds(seconds) == text
