from __future__ import annotations

import random

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.live.guardrails import BASELINE_SIZE, Guardrail, Observation, Watch, baseline_size

TEXTS = [
    "error_rate <= 0.01",
    "empty_rate <= 0.5",
    "p95_ms <= 50",
    "p99.9_ratio <= 1.5",
    "recall >= 0.9",
    "sample_ratio",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_guardrail_is_written_as_it_is_read(text: str) -> None:
    assert str(Guardrail.parse(text)) == text
    assert Guardrail.parse(Guardrail.parse(text)) == Guardrail.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "errors < 1",
        "error_rate <= 2",
        "error_rate <= -1",
        "p0_ms <= 5",
        "p100_ms <= 5",
        "recall >= e",
        "p99.95_ratio <= 2",
        7,
    ],
)
def test_what_is_no_guardrail_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Guardrail.parse(text)


def until_breach(watch: Watch, seen: Observation, most: int = 200) -> int:
    for n in range(1, most + 1):
        watch = watch.observe(seen)
        if watch.breach is not None:
            return n
    raise AssertionError("no breach")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("error_rate <= 0.01", Observation(error=True)),
        ("empty_rate <= 0.1", Observation(1.0, n_results=0)),
        ("p95_ms <= 50", Observation(51.0)),
        ("recall >= 0.9", Observation(recall=0.2)),
    ],
)
def test_a_deployment_that_is_broken_is_found_out_within_a_few_answers(text: str, seen: Observation) -> None:
    assert until_breach(Watch.over([text]), seen) <= 8


def test_also_when_it_breaks_after_a_long_good_time() -> None:
    watch = Watch.over(["error_rate <= 0.01"])
    for _ in range(5_000):
        watch = watch.observe(Observation(1.0))
    assert until_breach(watch, Observation(error=True)) <= 8
    for _ in range(25):
        watch = watch.observe(Observation(1.0))
    assert until_breach(watch, Observation(error=True)) <= 10
    for _ in range(10):
        watch = watch.observe(Observation(error=True))
    assert watch.breach is not None and "over the last 3" in watch.breach


def test_no_error_at_all_is_a_limit_too() -> None:
    watch = Watch.over(["error_rate <= 0"]).observe(Observation(1.0))
    assert watch.breach is None
    assert watch.observe(Observation(error=True)).breach == "error_rate <= 0: it is 0.5 over 2 answers"


def test_a_breach_stays_and_says_what_was_seen() -> None:
    watch = Watch.over(["p95_ms <= 50"])
    for _ in range(20):
        watch = watch.observe(Observation(60.0))
    breach = watch.breach
    assert breach is not None and breach.startswith("p95_ms <= 50: 100.0% of")
    for _ in range(200):
        watch = watch.observe(Observation(1.0))
    assert watch.breach == breach


def test_what_was_not_seen_says_nothing() -> None:
    watch = Watch.over(TEXTS)
    for _ in range(100):
        watch = watch.observe(Observation())
    assert watch.breach is None and watch.wants_recall


def test_a_ratio_waits_for_what_it_is_compared_with() -> None:
    watch = Watch.over(["p95_ratio <= 1.5"])
    assert watch.waits_for_baseline
    for _ in range(50):
        watch = watch.observe(Observation(1e6))
    assert watch.breach is None
    assert watch.with_baseline([1.0] * (BASELINE_SIZE - 1)).waits_for_baseline
    watch = watch.with_baseline([10.0] * BASELINE_SIZE)
    assert not watch.waits_for_baseline
    for _ in range(50):
        watch = watch.observe(Observation(14.0))
    assert watch.breach is None
    assert until_breach(watch, Observation(16.0)) <= 12


def n_answers_until_breach(text: str, times: float, seed: int, most: int) -> int | None:
    """Watch a challenger that takes `times` as long as its champion."""
    draw = random.Random(seed)
    watch = Watch.over([text], [draw.lognormvariate(2.0, 0.4) for _ in range(baseline_size(95.0))])
    for n in range(1, most + 1):
        watch = watch.observe(Observation(times * draw.lognormvariate(2.0, 0.4)))
        if watch.breach is not None:
            return n
    return None


def test_a_ratio_is_seldom_broken_by_who_is_as_quick_though_the_limit_is_estimated() -> None:
    stopped = [seed for seed in range(100) if n_answers_until_breach("p95_ratio <= 1", 1.0, seed, 800) is not None]
    assert len(stopped) <= 4  # of the 1 % that are promised, more come with a chance of 0.3 %


def test_a_ratio_finds_out_who_takes_three_times_as_long() -> None:
    found = [n_answers_until_breach("p95_ratio <= 1", 3.0, seed, 400) for seed in range(20)]
    assert None not in found


def test_higher_percentiles_wait_for_more_answers() -> None:
    assert baseline_size(95.0) == BASELINE_SIZE
    watch = Watch.over(["p50_ratio <= 1", "p99_ratio <= 1"], range(480))
    assert watch.waits_for_baseline and set(watch.limits_ms) == {Guardrail("ratio", 1.0, 50.0)}
    assert 240 < watch.limits_ms[Guardrail("ratio", 1.0, 50.0)] < 290
    watch = watch.with_baseline(range(481))
    assert watch.limits_ms[Guardrail("ratio", 1.0, 99.0)] == 480
