"""Values that are written as text on the command line."""

from __future__ import annotations

from datetime import timedelta

import pytest

from roost.cli.values import called, moment_or_span, numbers, pairs, stages, values
from roost.errors import InvalidArgument


def test_pairs_numbers_and_values():
    assert pairs(["a=b=c", " d = e "], "--tag") == {"a": "b=c", "d": "e"}
    assert numbers(["p=0.5"], "--metric") == {"p": 0.5}
    assert values(["M=16", "name=HNSW", "on=true", "x=[1, 2]"], "--option") == {
        "M": 16,
        "name": "HNSW",
        "on": True,
        "x": [1, 2],
    }
    assert pairs(None, "--tag") == {}


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(InvalidArgument, match="--tag takes name=value"):
        pairs([text], "--tag")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90m", timedelta(minutes=90)), ("1.5h", timedelta(minutes=90)), ("7d", timedelta(days=7)), (None, None)],
)
def test_spans_of_time(text, expected):
    assert moment_or_span(text) == expected


def test_a_moment_stays_as_it_is():
    assert moment_or_span("2026-01-31T12:00:00+00:00") == "2026-01-31T12:00:00+00:00"


def test_stages_of_a_ramp():
    assert stages(["0=0.05", "90m = 0.2"], "--ramp") == [(0.0, 0.05), (5400.0, 0.2)]
    assert stages(["0=b:0.1, c:0.2"], "--ramp") == [(0.0, {"b": 0.1, "c": 0.2})]
    assert stages(None, "--ramp") == []


@pytest.mark.parametrize("text", ["0.05", "soon=0.1", "1=0.1", "1h=", "1h=b", "1h=b:", "1h=b:x", "1h=0.1,0.2", "1h=:1"])
def test_what_is_no_stage_is_refused(text):
    with pytest.raises(InvalidArgument, match="--ramp"):
        stages([text], "--ramp")


def test_what_cannot_be_called_is_refused(shop):
    for path in ("cli_shop", "cli_shop:images", "no_such_module:f"):
        with pytest.raises(InvalidArgument):
            called(path)
