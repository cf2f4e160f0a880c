from __future__ import annotations

import json

import numpy as np
import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.monitor.histogram import BOUNDS_S, N_BUCKETS, RELATIVE_ERROR, Histogram


def test_quantiles_are_within_the_stated_error(rng: np.random.Generator) -> None:
    durations = rng.lognormal(mean=-6.0, sigma=1.5, size=20_000)
    histogram = Histogram.of(durations)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        true = np.quantile(durations, share, method="inverted_cdf")
        found = histogram.quantile(share)
        assert found is not None and abs(found - true) <= (RELATIVE_ERROR + 1e-9) * true
    assert histogram.n == 20_000
    assert histogram.mean_s == pytest.approx(durations.mean())


def test_histograms_of_parts_add_up_to_that_of_the_whole(rng: np.random.Generator) -> None:
    durations = rng.exponential(0.01, size=1_000)
    parts = Histogram.of(durations[:300]) + Histogram.of(durations[300:])
    assert np.array_equal(parts.counts, Histogram.of(durations).counts)
    assert parts.total_s == pytest.approx(durations.sum())


def test_what_lies_outside_the_range_counts_at_its_ends() -> None:
    histogram = Histogram.of([0.0, 1e-9, 1e6])
    assert (histogram.counts[0], histogram.counts[N_BUCKETS - 1], histogram.n) == (2, 1, 3)


def test_a_bound_belongs_to_the_bucket_that_it_ends() -> None:
    assert Histogram.of([float(BOUNDS_S[7])]).counts[7] == 1


def test_nothing_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None and Histogram().mean_s is None
    with pytest.raises(InvalidArgument, match="between 0 and 1"):
        Histogram().quantile(99)


def test_a_histogram_survives_json() -> None:
    histogram = Histogram.of([0.001, 0.001, 0.5])
    again = Histogram.from_json(json.loads(json.dumps(histogram.to_json())))
    assert np.array_equal(again.counts, histogram.counts) and again.total_s == histogram.total_s
