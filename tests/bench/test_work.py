from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from bench.work import Plan, Work, fashion_mnist, load_work, make_work, save_work


@pytest.fixture
def work(rng: np.random.Generator) -> Work:
    vectors = rng.random((300, 8), dtype=np.float32)
    return make_work(vectors, rng.random((40, 8), dtype=np.float32), Plan(filtered_queries=20))


def test_the_plan_is_cut_to_the_data(work: Work) -> None:
    assert (work.plan.rows, work.plan.queries, work.plan.single_rows) == (300, 40, 300)


def test_each_filter_keeps_its_share(work: Work) -> None:
    assert work.windows.shape == (3, 1 + 8 * 20, 2)
    for keep, windows in zip(work.plan.keeps, work.windows, strict=True):
        for low, high in windows:
            assert np.count_nonzero((work.ranks >= low) & (work.ranks < high)) == round(keep * 300)


def test_filters_that_are_used_once_differ(work: Work) -> None:
    for share in range(3):
        assert len(np.unique(work.fresh(share, 0), axis=0)) > 15
        assert (work.fresh(share, 0) != work.fresh(share, 1)).any()
        assert len(work.fresh(share, work.plan.rounds)) == 20


def test_work_survives_the_folder(work: Work, tmp_path: Path) -> None:
    save_work(work, tmp_path)
    loaded = load_work(tmp_path)
    assert loaded.plan == work.plan
    for name in ("vectors", "queries", "ranks", "windows"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(work, name))


def test_a_missing_data_set_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    with pytest.raises(SystemExit, match="apt install dataset-fashion-mnist"):
        fashion_mnist()


def test_images_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    pixels = np.arange(3 * 784, dtype=np.int64).astype(np.uint8)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + pixels.tobytes()))
    train, test = fashion_mnist()
    assert train.dtype == np.float32
    np.testing.assert_array_equal(train, pixels.reshape(3, 784))
    np.testing.assert_array_equal(test, train)
