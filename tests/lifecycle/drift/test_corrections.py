from __future__ import annotations

import math

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.drift import Lord, alpha_for_budget, holm
from roost.lifecycle.drift.corrections import DAY_S


def test_holm_of_known_p_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


@pytest.mark.parametrize("p_values", [[], [1.2], [-0.1], [float("nan")]])
def test_holm_refuses_what_is_no_p_value(p_values: list[float]) -> None:
    with pytest.raises(InvalidArgument, match="p-values"):
        holm(p_values)


def test_a_budget_of_one_false_alarm_a_month() -> None:
    assert alpha_for_budget(1) == pytest.approx(1 / 720)
    assert alpha_for_budget(2, per_s=DAY_S, window_s=60, n_tests=4) == pytest.approx(2 / 1440 / 4)


@pytest.mark.parametrize("bad", [{"false_alarms": 0}, {"false_alarms": 1, "window_s": -1}, {"false_alarms": 1_000}])
def test_a_budget_must_make_sense(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument):
        alpha_for_budget(**bad)


def test_levels_of_lord() -> None:
    lord = Lord(alpha=0.1)
    assert lord.level == pytest.approx(0.05 * 0.0722 * math.log(2))
    lord, is_alarm = lord.step(1e-6)
    assert is_alarm and lord.discoveries == (1,)
    second = 0.05 * 0.0722 * math.log(2) / (2 * math.exp(math.sqrt(math.log(2))))
    assert lord.level == pytest.approx(second + 0.05 * 0.0722 * math.log(2))
    lord, is_alarm = lord.step(1e-6)
    assert is_alarm and lord.discoveries == (1, 2) and lord.n_tests == 2
    before = lord.level
    lord, is_alarm = lord.step(0.9)
    assert not is_alarm and lord.level < before


def test_lord_rarely_alarms_while_nothing_changes() -> None:
    rng = np.random.default_rng(0)
    n_streams, n_wrong = 400, 0
    for _ in range(n_streams):
        lord = Lord(alpha=0.05)
        for p in rng.random(100):
            lord, is_alarm = lord.step(p)
            if is_alarm:
                n_wrong += 1
                break
    assert n_wrong <= 0.05 * n_streams + 3 * math.sqrt(n_streams * 0.05 * 0.95)


def test_lord_refuses_what_is_no_probability() -> None:
    with pytest.raises(InvalidArgument, match="alpha"):
        Lord(alpha=1)
    with pytest.raises(InvalidArgument, match="p-value"):
        Lord().step(1.5)
