"""Known answers of each detector."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from roost.errors import DimensionMismatch, InvalidArgument, InvalidData
from roost.lifecycle.drift import ChiSquare, Classifier, KolmogorovSmirnov, MeanShift, Mmd, NormShift, Psi, holm
from roost.lifecycle.drift.chi_square import chi_square
from roost.lifecycle.drift.classifier import CrossFit, area_under_curve
from roost.lifecycle.drift.ks import ks_p_values, ks_statistic
from roost.lifecycle.drift.mmd import mmd_squared
from roost.lifecycle.drift.permutation import random_windows
from roost.lifecycle.drift.projection import Projection
from roost.lifecycle.drift.psi import population_stability, verdict


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_mmd_is_the_sum_over_all_pairs() -> None:
    x, y = rng().normal(size=(7, 3)), rng().normal(1, 1, size=(5, 3))
    rows = np.concatenate([x, y])

    def k(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / 2))

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    direct = (
        mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
        + mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
        - 2 * mean([k(a, b) for a in x for b in y])
    )
    kernel = np.array([[k(a, b) for b in rows] for a in rows])
    real = np.r_[np.zeros(7), np.ones(5)][:, None]
    assert mmd_squared(kernel, real)[0] == pytest.approx(direct, rel=1e-12)


def test_the_mmd_detector_uses_the_width_it_is_given() -> None:
    x = rng().normal(size=(400, 2))
    detector = Mmd(x, bandwidth=2.5, max_reference=400)
    assert detector.test(x[:20]).details["bandwidth"] == 2.5
    median = Mmd(x).bandwidth
    assert 1.2 < median < 2.0, "the median distance of two points of a standard normal in the plane is 1.67"
    with pytest.raises(InvalidArgument, match="bandwidth"):
        Mmd(x, bandwidth=0)


@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_those_of_scikit_learn(ties: bool) -> None:
    scores = rng().normal(size=(60, 4))
    scores = np.round(scores) if ties else scores
    windows = (rng().random((60, 4)) < 0.3).astype(float)
    ours = area_under_curve(scores, windows)
    assert ours == pytest.approx([roc_auc_score(windows[:, i], scores[:, i]) for i in range(4)])


def test_the_classifier_can_tell_what_is_far_apart() -> None:
    x = rng().normal(size=(800, 4))
    result = Classifier(x).test(rng().normal(6, 1, size=(60, 4)))
    assert result.is_drift and result.statistic > 1
    assert result.details["area"] == pytest.approx(1.0, abs=0.01)
    assert len(result.details["folds"]) == 5
    wider = Classifier(x).test(rng().normal(0, 2, size=(60, 4)))
    assert wider.is_drift, "the mean is the same and the spread is not"


def two_folds() -> list[npt.NDArray[Any]]:
    return [rng().normal(size=(9, 3)), np.random.default_rng(6).normal(size=(8, 3))]


def windows_of(folds: list[npt.NDArray[Any]], n: int) -> list[npt.NDArray[np.float64]]:
    draw = np.random.default_rng(7)
    return [random_windows(len(rows), 3, n, draw) for rows in folds]


def test_cross_fitting_trains_each_fold_on_the_others_for_each_window() -> None:
    folds = two_folds()
    windows = windows_of(folds, 5)
    cross_fit = CrossFit.fit(folds, 0.3)
    found, areas = cross_fit.distances(windows), cross_fit.areas(windows)
    for i in range(5):
        by_hand, by_fold = [], []
        for held_out, trained in ((0, 1), (1, 0)):
            rows, inside = folds[trained], windows[trained][:, i] == 1
            covariance = np.cov(rows.T, bias=True) + 0.3 * np.eye(3)
            direction = np.linalg.solve(covariance, rows[inside].mean(axis=0) - rows[~inside].mean(axis=0))
            scores, inside = folds[held_out] @ direction, windows[held_out][:, i] == 1
            by_hand.append(scores[inside].mean() - scores[~inside].mean())
            by_fold.append(roc_auc_score(inside, scores))
        assert found[i] == pytest.approx(np.mean(by_hand)) and areas[:, i] == pytest.approx(by_fold)


def test_a_random_window_gets_the_distance_that_it_would_get_as_the_real_one() -> None:
    """Then the real window's rank among all windows is any with the same probability, and the p-value is exact."""
    folds = two_folds()
    windows = windows_of(folds, 5)
    together = CrossFit.fit(folds, 0.1).distances(windows)
    for i in range(5):
        # The window's rows come last, as those of a real window do.
        orders = [np.argsort(w[:, i], kind="stable") for w in windows]
        real = CrossFit.fit([rows[order] for rows, order in zip(folds, orders, strict=True)], 0.1)
        alone = real.distances([w[order, i : i + 1] for w, order in zip(windows, orders, strict=True)])
        assert alone == pytest.approx(together[i : i + 1])


def test_a_few_rows_far_out_do_not_decide() -> None:
    x = rng().normal(size=(2_000, 4))
    window = np.random.default_rng(6).normal(size=(100, 4))
    window[0] = 1e6
    assert not Classifier(x).test(window).is_drift


@pytest.mark.parametrize("model", [LogisticRegression(), DecisionTreeClassifier(max_depth=3)])
def test_the_classifier_takes_models_of_scikit_learn(model: Any) -> None:
    x = rng().normal(size=(800, 4))
    detector = Classifier(x, model=model)
    assert detector.test(rng().normal(2, 1, size=(60, 4))).is_drift
    assert not detector.test(np.random.default_rng(9).normal(size=(60, 4))).is_drift
    assert not hasattr(model, "classes_"), "a copy is fitted"


def test_the_classifier_refuses_folds_that_cannot_be() -> None:
    with pytest.raises(InvalidArgument, match="n_folds"):
        Classifier(rng().normal(size=(100, 2)), n_folds=1)
    with pytest.raises(InvalidArgument, match="n_components"):
        Classifier(rng().normal(size=(100, 2)), n_components=0)


@pytest.mark.parametrize("ties", [False, True])
def test_ks_agrees_with_scipy(ties: bool) -> None:
    x, y = rng().normal(size=300), rng().normal(0.2, 1, size=80)
    x, y = (np.round(x, 1), np.round(y, 1)) if ties else (x, y)
    theirs = stats.ks_2samp(x, y, method="asymp")
    statistic = ks_statistic(np.sort(x), y)
    assert statistic == pytest.approx(theirs.statistic)
    assert ks_p_values([statistic], 300, 80) == pytest.approx([theirs.pvalue], rel=1e-9)


def test_ks_names_the_column_that_moved() -> None:
    x = rng().normal(size=(2_000, 5))
    window = np.random.default_rng(6).normal(size=(100, 5))
    window[:, 3] += 1
    result = KolmogorovSmirnov(x, n_components=None).test(window)
    assert result.is_drift and result.details["feature"] == 3
    assert result.p_value == min(result.details["p_values"])
    assert len(result.details["statistics"]) == 5
    with pytest.raises(InvalidArgument, match="n_components"):
        KolmogorovSmirnov(x, n_components=0)


def test_psi_of_known_histograms() -> None:
    # With half a row added: shares 0.5, 0.5 and 0.75, 0.25.
    expected, actual = np.array([9.5, 9.5]), np.array([14.5, 4.5])
    by_hand = (0.75 - 0.5) * np.log(0.75 / 0.5) + (0.25 - 0.5) * np.log(0.25 / 0.5)
    assert population_stability(expected, actual) == pytest.approx(by_hand)
    assert population_stability(expected, expected) == 0
    assert np.isfinite(population_stability(np.array([10, 0]), np.array([0, 10])))
    assert [verdict(index) for index in (0.05, 0.1, 0.2, 0.25)] == ["stable", "moderate", "moderate", "large"]


def test_psi_sees_values_that_are_as_frequent_as_several_bins() -> None:
    reference = np.where(rng().random(2_000) < 0.6, 0.0, rng().random(2_000))
    window = np.where(np.random.default_rng(7).random(200) < 0.4, 0.0, np.random.default_rng(8).random(200) * 1e-9)
    detector = Psi(reference, n_components=None)
    assert detector.test(window).is_drift
    assert not detector.test(np.random.default_rng(9).permutation(reference)[:200]).is_drift


def test_psi_says_what_the_rule_of_thumb_says_beside_its_own_threshold() -> None:
    x = rng().normal(size=(2_000, 5))
    result = Psi(x, n_components=None).test(np.random.default_rng(6).normal(size=(50, 5)))
    assert not result.is_drift
    assert result.details["rule_of_thumb"] != "stable", "fifty rows in ten bins exceed it by chance"
    assert result.statistic < result.details["threshold"]
    with pytest.raises(InvalidArgument, match="n_bins"):
        Psi(x, n_bins=1)


def test_the_mean_and_the_lengths() -> None:
    x = rng().normal(size=(2_000, 3))
    longer = np.random.default_rng(6).normal(size=(100, 3)) * 1.5
    assert NormShift(x).test(longer).is_drift and not MeanShift(x).test(longer).is_drift
    result = NormShift(x).test(longer)
    assert result.statistic == pytest.approx(result.details["mean_window"] - result.details["mean_reference"])
    moved = MeanShift(x, n_components=2).test(np.random.default_rng(6).normal(0.7, 1, size=(100, 3)))
    assert moved.is_drift
    with pytest.raises(InvalidArgument, match="n_components"):
        MeanShift(x, n_components=0)


def test_chi_square_agrees_with_scipy() -> None:
    reference, window = np.array([40, 30, 20, 0]), np.array([10, 15, 4, 2])
    theirs = stats.chi2_contingency([reference, window], correction=False).statistic
    assert chi_square(reference, window) == pytest.approx(theirs)
    assert chi_square(np.array([5, 5, 0]), np.array([5, 5, 0])) == 0


def test_chi_square_p_values_are_near_the_law_where_counts_are_large() -> None:
    reference = rng().integers(0, 6, 20_000)
    window = np.random.default_rng(8).choice(6, 2_000, p=[0.19, 0.17, 0.16, 0.16, 0.16, 0.16])
    result = ChiSquare(reference, n_permutations=9_999).test(window)
    table = [np.bincount(reference, minlength=6), np.bincount(window, minlength=6)]
    assert result.p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=0.02)


def test_chi_square_names_the_category_that_moved_also_a_new_one() -> None:
    reference = ["cat"] * 500 + ["dog"] * 500
    result = ChiSquare(reference).test(["cat"] * 40 + ["dog"] * 40 + ["emu"] * 20)
    assert result.is_drift and result.details["category"] == "emu"
    assert result.details["shares_window"]["emu"] == 0.2 and result.details["shares_reference"]["emu"] == 0
    assert result.details["psi"] > 0.25
    assert ChiSquare([True] * 50 + [False] * 50).test([True] * 30).is_drift


def test_chi_square_takes_categories_only() -> None:
    with pytest.raises(InvalidData, match="float64"):
        ChiSquare(np.zeros(50))
    with pytest.raises(InvalidData, match="shape"):
        ChiSquare(np.zeros((50, 2), dtype=int))
    with pytest.raises(InvalidData, match="array of categories"):
        ChiSquare([[1], [1, 2]] * 20)


def test_a_projection_has_components_of_unit_variance_and_the_distance_from_them() -> None:
    x = rng().normal(size=(500, 4)) * [10, 5, 1, 0.1] + 3
    found = Projection.fit(x, 2)
    features = found.apply(x)
    assert features.shape == (500, found.n_features) == (500, 3)
    assert found.deviations == pytest.approx([10, 5], rel=0.1)
    assert np.cov(features[:, :2].T) == pytest.approx(np.eye(2), abs=1e-9)
    centred = x - x.mean(axis=0)
    rest = centred - centred @ found.directions.T @ found.directions
    assert np.exp(features[:, 2]) == pytest.approx(np.linalg.norm(rest, axis=1))
    far = found.apply(x + np.array([0, 0, 50, 0]))
    assert far[:, 2].min() > features[:, 2].max()
    assert Projection.fit(x, 9).n_features == 4
    assert Projection.fit(np.ones((30, 4)), 2).n_features == 1


def test_holm_is_shared_by_ks() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_a_flat_array_is_one_feature_and_not_another_number_of_them() -> None:
    with pytest.raises(DimensionMismatch):
        Mmd(rng().normal(size=(50, 2))).test(rng().normal(size=50))
