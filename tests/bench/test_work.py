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
    assert work.windows.shape == (3, 4, 1 + 8 * 20, 2)
    for case in work.filter_cases():
        assert case.windows.shape == (8, 20, 2)
        column = work.column(case.column)
        for low, high in case.windows.reshape(-1, 2):
            assert np.count_nonzero((column >= low) & (column < high)) == max(1, round(case.keep * 300))


def test_a_repeated_filter_stays_and_fresh_ones_differ(work: Work) -> None:
    by_name = {case.name: case for case in work.filter_cases()}
    assert len(by_name) == 3 * 4 * 2
    assert len(set(by_name["random repeated 0.1"].of_round(0) + by_name["random repeated 0.1"].of_round(7))) == 1
    fresh = by_name["random fresh 0.1"]
    assert len(set(fresh.of_round(0))) == 20
    assert not set(fresh.of_round(0)) & set(fresh.of_round(1))


def test_columns_are_cut_with_the_rows(work: Work) -> None:
    part = work.columns_of(slice(3, 5))
    assert list(part) == ["rank", "axis"]
    np.testing.assert_array_equal(part["axis"], work.column("axis")[3:5])


def test_work_survives_the_folder(work: Work, tmp_path: Path) -> None:
    save_work(work, tmp_path)
    loaded = load_work(tmp_path)
    assert loaded.plan == work.plan
    for name in ("vectors", "queries", "columns", "asked", "windows"):
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
