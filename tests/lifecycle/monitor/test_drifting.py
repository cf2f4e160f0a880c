"""Traffic that goes up and down with the hours is compared with that of the same hour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.drift.permutation import MAX_PERMUTATIONS
from roost.lifecycle.monitor.baselines import Baselines
from roost.lifecycle.monitor.configuration import (
    TESTS_TOGETHER,
    configuration,
    finest_alpha,
)
from roost.lifecycle.monitor.drifting import DriftTests
from roost.lifecycle.monitor.seasons import Season
from roost.lifecycle.monitor.summary import Drift
from roost.lifecycle.monitor.watched import Watched
from roost.lifecycle.serving.tap import Failed, Judged, Labelled, Predicted, Searched, Stream, Written
from roost.lifecycle.serving.traffic import Query
from roost.lifecycle.store import Store

HOUR_S, DAY_S = 3_600.0, 86_400.0
MONDAY_S = 1_704_067_200.0
ALPHA = 1e-3


@pytest.fixture
def kept(store_url: str, tmp_path: Path) -> Iterator[Baselines]:
    store = Store(store_url)
    yield Baselines(store, tmp_path)
    store.close()


class Site:
    """An endpoint whose users ask other things by day than by night."""

    def __init__(self, kept: Baselines, season: Season | None) -> None:
        options = {
            "baseline_rows": 300,
            "min_rows": 60,
            "drift_rows": 100,
            "drift_alpha": ALPHA,
            "detectors": ("ks",),
            "drift_season": season,
        }
        self.stream = Stream(1.0)
        self.watched = Watched("shop", configuration([], [], options), self.stream, MONDAY_S)
        self.tests = DriftTests("shop", kept)
        self.rng = np.random.default_rng(3)

    def ask(self, at_s: float, n: int, shift: float = 0.0) -> None:
        """Ask for predictions, and let the monitor take them in."""
        by_day = at_s % DAY_S >= DAY_S / 2
        for _ in range(n // 50):
            rows = self.rng.normal(3.0 if by_day else 0.0, 1.0, (50, 3)) + shift
            self.stream.put(Predicted("v1", 0.01, ["day" if by_day else "night"] * 50, rows))
        self.watched.drain(at_s)

    def search(self, at_s: float, n: int) -> None:
        for _ in range(n // 50):
            distances, vectors = self.rng.exponential(1.0, 50).tolist(), self.rng.normal(0.0, 1.0, (50, 3))
            self.stream.put(Searched("v1", 0.01, distances, vectors, Query(5)))
        self.watched.drain(at_s)

    def write(self, at_s: float, n: int, shift: float = 0.0) -> None:
        for _ in range(n // 50):
            self.stream.put(Written("v1", 50, self.rng.normal(shift, 1.0, (50, 3))))
        self.watched.drain(at_s)

    def drift(self) -> Drift | None:
        return self.tests.test(self.watched).get("v1", {}).get("queries")


def test_day_and_night_differ_and_are_no_drift_by_the_hour(kept: Baselines) -> None:
    site = Site(kept, "hour")
    for hour in (3, 15):
        site.ask(MONDAY_S + hour * HOUR_S, 300)
    assert site.drift() is None
    kinds = {kind for _, kind in kept.latest("shop")}
    assert kinds == {"queries@03h", "queries@15h", "predictions@03h", "predictions@15h"}
    for hour in (3, 15):
        site.ask(MONDAY_S + DAY_S + hour * HOUR_S, 100)
        found = site.tests.test(site.watched)["v1"]
        assert set(found) == {"queries", "norms", "predictions"}
        assert all(one.p_value > ALPHA and one.n_tests == 1 for one in found.values())
    site.ask(MONDAY_S + 2 * DAY_S + 15 * HOUR_S, 100, shift=-3.0)
    moved = site.drift()
    assert moved is not None and moved.p_value <= ALPHA, "the night's questions by day"


def test_without_seasons_the_night_is_drift_from_the_day(kept: Baselines) -> None:
    site = Site(kept, None)
    site.ask(MONDAY_S + 15 * HOUR_S, 300)
    assert site.drift() is None
    site.ask(MONDAY_S + 27 * HOUR_S, 100)
    moved = site.drift()
    assert moved is not None and moved.p_value <= ALPHA


def test_seasons_that_are_tested_together_are_corrected_for_their_number(kept: Baselines) -> None:
    site = Site(kept, "weekday")
    for day in (0, 1):
        site.ask(MONDAY_S + day * DAY_S, 300)
    site.tests.learn(site.watched)
    for day in (7, 8):
        site.ask(MONDAY_S + day * DAY_S, 100)
    both = site.drift()
    assert both is not None and (both.n_tests, both.n_rows) == (2, 200) and both.p_value > ALPHA


def test_the_rows_of_a_season_without_a_baseline_wait(kept: Baselines) -> None:
    site = Site(kept, "hour_of_week")
    site.ask(MONDAY_S, 300)
    site.tests.learn(site.watched)
    site.ask(MONDAY_S + HOUR_S, 150)
    assert site.drift() is None
    site.ask(MONDAY_S + HOUR_S + 7 * DAY_S, 150)
    assert site.drift() is None
    assert ("v1", "queries@mon-01h") in kept.latest("shop")


def test_a_baseline_that_was_given_is_that_of_all_seasons(kept: Baselines) -> None:
    site = Site(kept, "hour")
    kept.save("shop", "v1", "queries", site.rng.normal(0.0, 1.0, (400, 3)), "given")
    kept.save("shop", "v1", "predictions", np.array(["night"] * 400), "given")
    for hour, is_drift in ((3, False), (15, True)):
        site.ask(MONDAY_S + hour * HOUR_S, 100)
        found = site.drift()
        assert found is not None and (found.p_value <= ALPHA) is is_drift
    assert {kind for _, kind in kept.latest("shop")} == {"queries", "predictions"}


def test_written_vectors_have_no_season(kept: Baselines) -> None:
    site = Site(kept, "hour_of_week")
    kept.save("shop", "v1", "vectors", site.rng.normal(0.0, 1.0, (300, 3)), "collection")
    for hour in (0, 1):
        site.write(MONDAY_S + hour * HOUR_S, 50)
    found = site.tests.test(site.watched)["v1"]["data"]
    assert (found.n_tests, found.n_rows) == (1, 100) and found.p_value > ALPHA
    for hour in (2, 3):
        site.write(MONDAY_S + hour * HOUR_S, 50, shift=1.0)
    assert site.tests.test(site.watched)["v1"]["data"].p_value <= ALPHA


def test_distances_have_no_season_and_are_not_kept_once_there_is_a_baseline(kept: Baselines) -> None:
    site = Site(kept, "hour_of_week")
    for hour in range(6):
        site.search(MONDAY_S + hour * HOUR_S, 50)
    known = site.tests.learn(site.watched)
    assert set(known) == {("v1", "distances")} and known["v1", "distances"].n_rows == 300
    assert set(site.tests.far_limits(known, larger_is_farther=True)) == {"v1"}
    site.search(MONDAY_S + 6 * HOUR_S, 100)
    site.tests.learn(site.watched)
    samples = site.watched.samples()["v1"]
    assert samples.distances.items == [] and len(samples.asked.items) == 50
    assert {season: len(sample.items) for season, sample in samples.queries.items()}["mon-06h"] == 100


def test_the_training_snapshot_is_of_all_seasons_and_waits_for_none_of_their_baselines(kept: Baselines) -> None:
    site = Site(kept, "hour_of_week")
    kept.save("shop", "v1", "training", site.rng.normal(0.0, 1.0, (300, 3)), "given")
    for hour in (0, 1):
        site.ask(MONDAY_S + hour * HOUR_S, 50)
    found = site.tests.test(site.watched)["v1"]
    assert set(found) == {"training"} and found["training"].p_value > ALPHA
    assert (found["training"].n_tests, found["training"].n_rows) == (1, 100)
    site.ask(MONDAY_S + HOUR_S, 50, shift=2.0)
    site.ask(MONDAY_S + 2 * HOUR_S, 50, shift=2.0)
    assert site.tests.test(site.watched)["v1"]["training"].p_value <= ALPHA
    site.ask(MONDAY_S + 2 * HOUR_S, 250)
    site.tests.learn(site.watched)
    assert kept.latest("shop")["v1", "queries@mon-02h"].n_rows == 300, "what was tested is still part of the baseline"


def test_the_training_snapshot_raises_no_more_false_alarms_than_it_may(kept: Baselines) -> None:
    site = Site(kept, "hour")
    site.watched.reconfigure(replace(site.watched.configuration, drift_alpha=0.05))
    kept.save("shop", "v1", "training", site.rng.normal(0.0, 1.0, (5_000, 3)), "given")
    p_values = []
    for number in range(100):
        site.ask(MONDAY_S + number % 12 * HOUR_S, 100)
        p_values.append(site.tests.test(site.watched)["v1"]["training"].p_value)
    assert sum(p <= 0.05 for p in p_values) <= 11  # 11 or fewer of 100 at a rate of 5 % in 99.6 % of cases


def test_nothing_is_kept_of_deployments_that_are_not_live(kept: Baselines) -> None:
    site = Site(kept, "hour")
    for hour in (3, 4):
        site.ask(MONDAY_S + hour * HOUR_S, 400)
    site.tests.test(site.watched)
    site.ask(MONDAY_S + DAY_S + 3 * HOUR_S, 100)
    assert site.drift() is not None
    site.stream.put(Predicted("v2", 0.01, ["day"], None))
    site.watched.drain(MONDAY_S + DAY_S + 3 * HOUR_S)
    assert set(site.watched.samples()) == {"v1", "v2"}
    for part in (site.watched, site.tests):
        part.keep_only({"v2"})
    assert set(site.watched.samples()) == {"v2"} and site.tests._detectors == {}


def test_only_what_brings_something_to_sample_takes_memory(kept: Baselines) -> None:
    site = Site(kept, None)
    for one in (Labelled("v1", is_right=True), Judged("v1", "click", 1.0), Failed("v1", was_refused=False)):
        site.stream.put(one)
    site.watched.drain(MONDAY_S + 1)
    assert site.watched.samples() == {}
    [seen] = site.watched.unstored(MONDAY_S + 2)
    assert (seen.deployment, seen.summary.n_labels, seen.summary.n_errors) == ("v1", 1, 1)


def test_the_work_of_a_test_is_bounded_however_clear_the_drift_and_however_fine_the_level(kept: Baselines) -> None:
    site = Site(kept, None)
    for level, most in ((finest_alpha(("ks", "mmd")), MAX_PERMUTATIONS), (0.05, 999)):
        chosen = replace(site.watched.configuration, detectors=("ks", "mmd"), drift_alpha=level)
        kept.save("shop", "v1", "queries", site.rng.normal(0.0, 1.0, (60, 3)), "given")
        site.watched.reconfigure(chosen)
        site.ask(MONDAY_S, 100, shift=5.0)
        found = site.drift()
        assert found is not None and found.p_value * TESTS_TOGETHER <= level, "four processes may find it together"
        _, detectors = site.tests._detectors["queries", "v1"]
        assert max(getattr(detector, "n_permutations", 0) for detector in detectors) <= most
        site.ask(MONDAY_S, 100)
        still = site.drift()
        assert still is not None and still.p_value > level


def test_detectors_follow_the_configuration_with_the_baseline_that_they_have(kept: Baselines) -> None:
    site = Site(kept, None)
    kept.save("shop", "v1", "queries", site.rng.normal(0.0, 1.0, (200, 3)), "given")

    def moved(**options: Any) -> Drift:
        site.watched.reconfigure(configuration(None, None, options, site.watched.configuration))
        site.ask(MONDAY_S, 100, shift=5.0)
        found = site.drift()
        assert found is not None
        return found

    daily = moved(drift_every_s=86_400, drift_alpha=0, detectors=("mmd",))
    assert daily.p_value == pytest.approx(1 / 1_000)
    made = site.tests._detectors["queries", "v1"]
    moved(cooldown_s=60)
    assert site.tests._detectors["queries", "v1"] is made, "what they are made of did not change"
    finer = moved(drift_every_s=1_800)
    assert finer.p_value <= site.watched.configuration.drift_alpha < daily.p_value
    assert moved(detectors=("ks",)).detector == "ks"


def test_predicted_classes_alarm_at_a_level_that_exact_detectors_alone_tell(kept: Baselines) -> None:
    site = Site(kept, None)
    chosen = replace(site.watched.configuration, drift_alpha=3e-5)
    site.watched.reconfigure(chosen)
    kept.save("shop", "v1", "queries", site.rng.normal(0.0, 1.0, (200, 3)), "given")
    kept.save("shop", "v1", "predictions", np.array(["night"] * 300), "given")
    site.ask(MONDAY_S + 15 * HOUR_S, 100)
    found = site.tests.test(site.watched)["v1"]["predictions"]
    assert found.p_value * TESTS_TOGETHER <= chosen.drift_alpha, "four processes may find it together"


def test_what_is_not_under_way_is_left_out_when_the_monitor_stops(kept: Baselines) -> None:
    site = Site(kept, None)
    kept.save("shop", "v1", "queries", site.rng.normal(0.0, 1.0, (60, 3)), "given")
    site.ask(MONDAY_S, 100)
    assert site.tests.test(site.watched, should_stop=lambda: True) == {}


def test_a_season_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="drift_season 'month' is not known"):
        configuration([], [], {"drift_season": "month"})
