"""What `watch` is asked for: names, defaults, and what follows from what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.monitor.configuration import (
    FINEST_EXACT_ALPHA,
    OPTIONS,
    Configuration,
    configuration,
    default_rules,
    finest_alpha,
)
from roost.lifecycle.monitor.notify import Email, Log
from roost.lifecycle.monitor.rules import Rule

MONTH_S = 30 * 86_400.0
GUIDE = Path(__file__).parents[3] / "docs" / "monitoring.md"


def test_the_guide_lists_every_option_with_its_default() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", GUIDE.read_text(), re.MULTILINE))
    shown = {name: "+".join(value) if isinstance(value, tuple) else f"{value}" for name, value in OPTIONS.items()}
    assert listed == {name: re.sub(r"\.0$", "", value) for name, value in shown.items()}


def test_an_option_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidArgument, match=r"'windows' is no option of a monitor; these are: .*, window_s"):
        configuration(None, None, {"windows": 10})


@pytest.mark.parametrize("every_s", [1_037.0, 3_600.0, 86_400.0])
def test_the_level_is_that_of_one_false_alarm_a_month(every_s: float) -> None:
    chosen = configuration(None, None, {"drift_every_s": every_s})
    assert chosen.drift_alpha * MONTH_S / every_s == pytest.approx(1.0) == chosen.false_alarms_a_month
    assert chosen.rules == default_rules(chosen.drift_alpha)


def test_an_interval_so_short_that_the_level_cannot_be_told_is_refused_with_a_way_out() -> None:
    with pytest.raises(
        InvalidArgument, match=r"drift_every_s of 1037 or more.*drift_alpha=0.0004, with 52 false alarms"
    ):
        configuration(None, None, {"drift_every_s": 20})
    chosen = configuration(None, None, {"drift_every_s": 20, "drift_alpha": finest_alpha(("ks", "mmd"))})
    assert chosen.false_alarms_a_month == pytest.approx(51.84)
    with pytest.raises(InvalidArgument, match=r"no level finer than 0\.0004"):
        configuration(None, None, {"drift_alpha": 1e-6})


def test_detectors_with_an_exact_law_tell_finer_levels() -> None:
    assert finest_alpha(("ks",)) == FINEST_EXACT_ALPHA
    chosen = configuration(None, None, {"drift_every_s": 300, "detectors": ["ks"]})
    assert chosen.false_alarms_a_month == pytest.approx(1.0)
    with pytest.raises(InvalidArgument, match=r"drift tests with ks tell no level finer than 1e-05"):
        configuration(None, None, {"drift_every_s": 10, "detectors": ["ks"]})
    with pytest.raises(InvalidArgument, match=r"drift tests with mmd tell no level finer than 0\.0002, and one every"):
        configuration(None, None, {"drift_every_s": 300, "detectors": ["mmd"]})
    with pytest.raises(InvalidArgument, match=r"with ks and mmd tell no level finer than 0\.0004"):
        configuration(None, None, {"detectors": ["ks", "mmd"]}, chosen)


def test_what_follows_from_an_option_follows_from_the_new_one() -> None:
    first = configuration(None, None, {})
    daily = configuration(None, None, {"drift_every_s": 86_400}, first)
    assert daily.drift_alpha == pytest.approx(1 / 30) and daily.rules == default_rules(daily.drift_alpha)
    chosen = configuration(None, None, {"drift_alpha": 0.01}, daily)
    kept = configuration(None, None, {"drift_every_s": 3_600}, chosen)
    assert (kept.drift_alpha, kept.drift_every_s) == (0.01, 3_600)
    assert configuration(None, None, {"drift_alpha": 0}, kept) == configuration(None, None, {"drift_every_s": 3_600})


def test_rules_and_channels_that_were_given_stay_until_others_are() -> None:
    mail = Email("mail.example.org", "roost@example.org", ("ann@example.org",))
    first = configuration(["error_rate > 0.5"], [mail], {})
    second = configuration(None, None, {"window_s": 30}, first)
    assert (second.rules, second.notify, second.window_s) == ((Rule("error_rate", ">", 0.5),), (mail,), 30)
    third = configuration([], [Log()], {}, second)
    assert (third.rules, third.notify, third.window_s) == ((), (Log(),), 30)
    assert Configuration.from_json(third.to_json()) == third


def test_an_email_without_a_sender_is_refused_as_such() -> None:
    with pytest.raises(InvalidArgument, match="needs a sender"):
        Email("mail.example.org", "", ("ann@example.org",))
