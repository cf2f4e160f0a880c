from __future__ import annotations

import numpy as np
import pytest

from roost.errors import InvalidArgument, NotFinite
from roost.lifecycle.bridge.maps import MIN_PAIRS, fit_map
from roost.lifecycle.models.embedders.base import FloatArray


def vectors(rng: np.random.Generator, n: int, dim: int) -> FloatArray:
    return rng.normal(size=(n, dim)).astype(np.float32)


def test_a_rotation_between_spaces_is_found(rng: np.random.Generator) -> None:
    source = vectors(rng, 300, 8)
    rotation, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    target = (3.0 * source @ rotation + 5.0).astype(np.float32)
    found = fit_map(source, target)
    fresh = vectors(rng, 20, 8)
    assert np.allclose(found.apply(fresh), 3.0 * fresh @ rotation + 5.0, atol=0.05)
    assert found.similarity["procrustes"] > 0.999


def test_an_affine_map_into_a_smaller_space_is_found(rng: np.random.Generator) -> None:
    source = vectors(rng, 400, 12)
    weights = rng.normal(size=(12, 3)).astype(np.float32)
    found = fit_map(source, source @ weights - 1.0)
    fresh = vectors(rng, 20, 12)
    assert found.apply(fresh).shape == (20, 3)
    assert found.apply(fresh).dtype == np.float32
    assert np.allclose(found.apply(fresh), fresh @ weights - 1.0, atol=0.05)


def test_a_map_into_one_dimension_has_the_right_shape(rng: np.random.Generator) -> None:
    source = vectors(rng, 100, 4)
    assert fit_map(source, source[:, :1] * 2.0).apply(source).shape == (100, 1)


def test_what_is_not_linear_takes_the_network(rng: np.random.Generator) -> None:
    source = vectors(rng, 3000, 4)
    target = np.abs(source) @ rng.normal(size=(4, 6)).astype(np.float32)
    found = fit_map(source, target - target.mean(axis=0))
    assert found.kind == "mlp"
    assert found.similarity["mlp"] > found.similarity["ridge"] + 0.1


def test_the_similarity_is_that_of_pairs_that_were_held_out(rng: np.random.Generator) -> None:
    found = fit_map(vectors(rng, 60, 40), vectors(rng, 60, 40))
    assert all(abs(similarity) < 0.2 for similarity in found.similarity.values()), "there is nothing to find"


def test_the_seed_decides_the_map(rng: np.random.Generator) -> None:
    source, target = vectors(rng, 100, 5), vectors(rng, 100, 4)
    again = [fit_map(source, target, seed=3).apply(source) for _ in range(2)]
    assert np.array_equal(*again)


def test_equal_vectors_are_mapped_without_a_division_by_zero(rng: np.random.Generator) -> None:
    constant = np.ones((MIN_PAIRS, 3), dtype=np.float32)
    assert np.isfinite(fit_map(constant, constant).apply(constant)).all()


def test_too_few_pairs_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InvalidArgument, match=f"at least {MIN_PAIRS} pairs"):
        fit_map(vectors(rng, MIN_PAIRS - 1, 4), vectors(rng, MIN_PAIRS - 1, 4))


def test_unequal_numbers_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InvalidArgument, match="pairs"):
        fit_map(vectors(rng, 100, 4), vectors(rng, 99, 4))


def test_vectors_that_are_not_finite_are_refused(rng: np.random.Generator) -> None:
    bad = vectors(rng, 100, 4)
    bad[7, 1] = np.nan
    with pytest.raises(NotFinite):
        fit_map(bad, vectors(rng, 100, 4))
