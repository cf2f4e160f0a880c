"""Traffic that goes up and down with the hours is compared with that of the same hour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.monitor.baselines import Baselines
from roost.lifecycle.monitor.configuration import configuration
from roost.lifecycle.monitor.drifting import DriftTests
from roost.lifecycle.monitor.seasons import Season
from roost.lifecycle.monitor.summary import Drift
from roost.lifecycle.monitor.watched import Watched
from roost.lifecycle.serving.tap import Predicted, Stream
from roost.lifecycle.store import Store

HOUR_S, DAY_S = 3_600.0, 86_400.0
MONDAY_S = 1_704_067_200.0
ALPHA = 1e-4


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


def test_a_season_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="drift_season 'month' is not known"):
        configuration([], [], {"drift_season": "month"})
