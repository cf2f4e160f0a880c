from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roost.errors import Corruption, InvalidArgument
from roost.lifecycle.monitor.baselines import MAX_ROWS, Baselines
from roost.lifecycle.monitor.samples import Sample
from roost.lifecycle.store import Store


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Baselines]:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}")
    yield Baselines(store, tmp_path / "baselines")
    store.close()


def test_a_baseline_is_kept_and_the_last_one_counts(kept: Baselines, rng: np.random.Generator) -> None:
    rows = rng.normal(size=(50, 3)).astype(np.float32)
    kept.save("e", "v1", "queries", rows * 2, "given")
    saved = kept.save("e", "v1", "queries", rows, "first traffic")
    assert kept.latest("e") == {("v1", "queries"): saved} and kept.latest("other") == {}
    assert np.array_equal(kept.load(saved), rows)
    assert (saved.n_rows, saved.dim, saved.origin) == (50, 3, "first traffic")


def test_classes_are_kept_as_text(kept: Baselines) -> None:
    saved = kept.save("e", "v1", "predictions", np.array(["cat", "dog"]), "given")
    assert kept.load(saved).tolist() == ["cat", "dog"]


def test_a_large_baseline_is_thinned_out(kept: Baselines) -> None:
    saved = kept.save("e", "v1", "distances", np.arange(MAX_ROWS * 2.0), "given")
    assert saved.n_rows == MAX_ROWS and abs(kept.load(saved).mean() - MAX_ROWS) < MAX_ROWS / 20


def test_a_file_that_was_changed_or_lost_is_refused(kept: Baselines, tmp_path: Path) -> None:
    saved = kept.save("e", "v1", "queries", np.zeros((2, 2)), "given")
    [path] = (tmp_path / "baselines").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Corruption, match="was changed"):
        kept.load(saved)
    path.unlink()
    with pytest.raises(Corruption, match="cannot be read"):
        kept.load(saved)


@pytest.mark.parametrize("rows", [np.zeros((0, 2)), np.zeros((2, 2, 2)), np.array([{}, {}])])
def test_what_is_no_sample_is_refused(kept: Baselines, rows: np.ndarray) -> None:
    with pytest.raises(InvalidArgument, match="rows of numbers"):
        kept.save("e", "v1", "queries", rows, "given")


def test_a_sample_is_uniform_over_what_was_added() -> None:
    counts = np.zeros(100)
    for seed in range(400):
        sample: Sample[int] = Sample(10, np.random.default_rng(seed))
        for start in range(0, 100, 7):
            sample.add(list(range(start, min(100, start + 7))))
        assert sample.n_seen == 100 and len(set(sample.items)) == 10
        counts[sample.items] += 1
    # A chi-square of 99 degrees of freedom is above 150 with probability 0.0007; drawing without repeats lowers it.
    assert ((counts - 40.0) ** 2 / 40.0).sum() < 150
    assert len(sample.take(3)) == 3 and sample.items == []
