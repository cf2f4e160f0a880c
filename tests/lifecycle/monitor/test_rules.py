from __future__ import annotations

from typing import Any

import pytest

from roost.errors import InvalidArgument, InvalidName
from roost.lifecycle.monitor.rules import Progress, Rule, check_rules, rules_of, step


def run(rule: Rule, values: list[float | None]) -> list[str | None]:
    progress = Progress()
    events: list[str | None] = []
    for value in values:
        progress, event = step(progress, rule, value)
        events.append(event)
    return events


def test_a_rule_opens_after_its_windows_and_resolves_after_as_many() -> None:
    rule = Rule("error_rate", ">", 0.1, for_windows=2)
    bad, good = 0.5, 0.0
    assert run(rule, [bad, good, bad, bad, bad, good, bad, good, good, good]) == [
        None,
        None,
        None,
        "open",
        None,
        None,
        None,
        None,
        "resolved",
        None,
    ]


def test_a_window_without_the_figure_changes_nothing() -> None:
    rule = Rule("recall", "<", 0.9, for_windows=2)
    assert run(rule, [0.1, None, 0.1, None, 1.0, None, 1.0]) == [None, None, "open", None, None, None, "resolved"]


@pytest.mark.parametrize(
    ("comparison", "value", "is_broken"),
    [("<", 1.0, False), ("<=", 1.0, True), (">", 1.0, False), (">=", 1.0, True), ("<", 0.5, True), (">", 2.0, True)],
)
def test_comparisons(comparison: Any, value: float, is_broken: bool) -> None:
    assert Rule("rate", comparison, 1.0).is_broken_by(value) is is_broken


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "speed"},
        {"comparison": "=="},
        {"severity": "bad"},
        {"for_windows": 0},
        {"n_seasons": 0},
        {"relative_to": "month"},
        {"metric": "requests", "relative_to": "hour"},
        {"threshold": float("nan")},
        {"threshold": "1"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Rule(**{"metric": "rate", "comparison": "<", "threshold": 1.0, **options})


def test_rules_have_names_of_their_own() -> None:
    assert Rule("drift.queries", "<", 0.01).name == "drift-queries"
    with pytest.raises(InvalidName):
        Rule("rate", "<", 1.0, name="a b")
    with pytest.raises(InvalidArgument, match="two rules are called 'rate'"):
        check_rules([Rule("rate", "<", 1.0), Rule("rate", ">", 9.0)])


def test_a_rule_survives_being_stored() -> None:
    rule = Rule("latency_p95_ms", ">", 2.0, 3, "critical", "hour_of_week")
    assert Rule.from_dict(rule.to_dict()) == rule
    assert str(rule) == "latency_p95_ms / hour_of_week > 2 for 3 windows"
    with pytest.raises(InvalidArgument, match="not a rule"):
        Rule.from_dict({"colour": "red"})


@pytest.mark.parametrize(
    "rule",
    [
        Rule("recall", "<", 0.9),
        Rule("latency_p95_ms", ">=", 50, for_windows=3, severity="critical"),
        Rule("rate", "<", 0.5, relative_to="hour_of_week"),
        Rule("drift.queries", "<=", 0.001, for_windows=2),
    ],
)
def test_a_rule_is_read_as_it_is_shown(rule: Rule) -> None:
    text = str(rule) if rule.severity == "warning" else f"{rule} {rule.severity}"
    assert rules_of([text, rule]) == (rule, rule)


@pytest.mark.parametrize("given", ["recall < 0.9", Rule("recall", "<", 0.9), 5, [5], ["recall"], ["recall < low"]])
def test_what_is_no_list_of_rules_is_refused(given: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"rule"):
        rules_of(given)


def test_a_text_needs_no_spaces() -> None:
    assert Rule.parse("recall<=0.9") == Rule("recall", "<=", 0.9)
