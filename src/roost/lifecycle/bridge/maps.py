"""Learned maps from the space of one model into the space of another.

A map is fitted on the vectors that both models make of the same contents. Three kinds are tried,
and the one that comes nearest on contents that it was not fitted on is taken:

- `procrustes`: a rotation (and a scale), which cannot overfit.
- `ridge`: an affine map with a penalty, chosen by leave-one-out error.
- `mlp`: a ridge map and a small network for what the ridge map leaves over.

Sources: Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika
31(1), 1966. Hoerl and Kennard, "Ridge regression", Technometrics 12(1), 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from warnings import catch_warnings, simplefilter

import numpy as np

from roost.errors import InvalidArgument, MissingDependency, NotFinite
from roost.lifecycle.models.embedders.base import FloatArray

MIN_PAIRS = 50

_VALIDATION_SHARE = 0.2
_PENALTIES = tuple(10.0**exponent for exponent in range(-4, 5))
_HIDDEN = 256


@dataclass(frozen=True, slots=True)
class SpaceMap:
    """A fitted map: an affine part and, for `mlp`, one hidden layer on top of it.

    Attributes:
        weights: (dim_from, dim_to) float32.
        bias: (dim_to,) float32.
        hidden: weights and biases of the hidden layer and of the output layer; empty without one.
        similarity: mean cosine between mapped and true vectors of contents that were held out, by
            kind of map; the largest is why this kind was taken.
    """

    kind: str
    weights: FloatArray
    bias: FloatArray
    hidden: tuple[FloatArray, ...]
    similarity: Mapping[str, float]

    def apply(self, vectors: FloatArray) -> FloatArray:
        """Return the vectors, (n, dim_from), in the other space, (n, dim_to)."""
        mapped = vectors @ self.weights + self.bias
        if self.hidden:
            into, into_bias, out, out_bias = self.hidden
            mapped = mapped + np.maximum(vectors @ into + into_bias, 0.0) @ out + out_bias
        return np.ascontiguousarray(mapped, dtype=np.float32)


_Fitter: TypeAlias = Callable[[FloatArray, FloatArray, int], SpaceMap]


def fit_map(source: FloatArray, target: FloatArray, seed: int = 0) -> SpaceMap:
    """Return the map that comes nearest on held-out pairs, fitted again on all of them.

    Args:
        source: (n, dim_from), vectors of n contents by the one model.
        target: (n, dim_to), vectors of the same contents by the other.
        seed: of the split and of the network.
    Raises:
        InvalidArgument: there are fewer than `MIN_PAIRS` pairs, or the numbers of rows differ.
        NotFinite: a vector holds NaN or infinity.
        MissingDependency: scikit-learn is not installed.
    """
    if len(source) != len(target):
        raise InvalidArgument(f"a map is fitted on pairs: there are {len(source)} vectors and {len(target)}")
    if len(source) < MIN_PAIRS:
        raise InvalidArgument(f"a map needs at least {MIN_PAIRS} pairs of vectors, not {len(source)}")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise NotFinite("a vector of the pairs holds NaN or infinity")
    order = np.random.default_rng(seed).permutation(len(source))
    n_held_out = max(1, int(len(order) * _VALIDATION_SHARE))
    held_out, fitted = order[:n_held_out], order[n_held_out:]
    similarity = {
        kind: _mean_cosine(fit(source[fitted], target[fitted], seed).apply(source[held_out]), target[held_out])
        for kind, fit in _FITTERS.items()
    }
    best = max(similarity, key=lambda kind: similarity[kind])
    chosen = _FITTERS[best](source, target, seed)
    return SpaceMap(chosen.kind, chosen.weights, chosen.bias, chosen.hidden, similarity)


def _procrustes(source: FloatArray, target: FloatArray, _seed: int) -> SpaceMap:
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - from_mean
    left, stretch, right = np.linalg.svd(centred.T @ (target - to_mean), full_matrices=False)
    rotation = left @ right
    spread = float(np.square(centred @ rotation).sum())
    weights = rotation * (float(stretch.sum()) / spread if spread > 0.0 else 1.0)
    return _affine("procrustes", weights, to_mean - from_mean @ weights)


def _ridge(source: FloatArray, target: FloatArray, _seed: int) -> SpaceMap:
    try:
        from sklearn.linear_model import RidgeCV
    except ImportError as error:
        raise MissingDependency("fitting a bridge needs scikit-learn: pip install 'roost[lifecycle]'") from error
    scale = float(np.square(source).mean()) * len(source)
    model = RidgeCV(alphas=[penalty * max(scale, 1e-12) for penalty in _PENALTIES]).fit(source, target)
    weights = np.asarray(model.coef_).reshape(target.shape[1], source.shape[1]).T
    return _affine("ridge", weights, np.broadcast_to(model.intercept_, target.shape[1:]))


def _mlp(source: FloatArray, target: FloatArray, seed: int) -> SpaceMap:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    base = _ridge(source, target, seed)
    left = target - base.apply(source)
    from_scale, to_scale = float(source.std()) or 1.0, float(left.std()) or 1.0
    network = MLPRegressor(
        hidden_layer_sizes=(_HIDDEN,),
        early_stopping=True,
        max_iter=100,
        n_iter_no_change=5,
        tol=1e-3,
        random_state=seed,
    )
    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)  # what it has reached is measured, converged or not
        network.fit(source / from_scale, left / to_scale if left.shape[1] > 1 else (left / to_scale).ravel())
    (into, out), (into_bias, out_bias) = network.coefs_, network.intercepts_
    layers = (into / from_scale, into_bias, out * to_scale, out_bias * to_scale)
    hidden = tuple(np.ascontiguousarray(layer, dtype=np.float32) for layer in layers)
    return SpaceMap("mlp", base.weights, base.bias, hidden, {})


_FITTERS: Mapping[str, _Fitter] = {"procrustes": _procrustes, "ridge": _ridge, "mlp": _mlp}


def _affine(kind: str, weights: FloatArray, bias: FloatArray) -> SpaceMap:
    return SpaceMap(
        kind,
        np.ascontiguousarray(weights, dtype=np.float32),
        np.ascontiguousarray(bias, dtype=np.float32),
        (),
        {},
    )


def _mean_cosine(mapped: FloatArray, true: FloatArray) -> float:
    norms = np.linalg.norm(mapped, axis=1) * np.linalg.norm(true, axis=1)
    return float(np.mean(np.einsum("ij,ij->i", mapped, true) / np.maximum(norms, 1e-12)))
