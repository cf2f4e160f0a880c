"""Simulated users of real rankings.

The rankings are those of two image searches over scikit-learn's digits: the ten nearest images by two principal
component models of different size. A query has a few results that are worth a click: the images nearest to it in all
64 pixels. What a user does with a ranking follows the position-based model: the result at rank k is looked at with
probability k^-1, and what was looked at is clicked with a probability that depends on its worth alone. Users differ:
each looks at results at all in a share of the queries that is the user's own, and makes several queries.

Every method of testing meets the same users: it decides only which ranking they get.

Sources: Richardson, Dominowska and Ragno, "Predicting clicks", WWW 2007 (position-based model); Joachims, Swaminathan
and Schnabel, "Unbiased learning-to-rank with biased feedback", WSDM 2017, section 6 (the rank k looked at by k^-1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from roost.lifecycle.livetest import Draft, Outcome, judge

K = 10
N_ITEMS = 1_200

BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
Interleave: TypeAlias = Callable[[list[int], list[int], int, Random], Draft]


@dataclass(frozen=True)
class World:
    """Queries, two rankings of each, and what is worth a click.

    Attributes:
        champion: (n_queries, K) ids, best first; likewise challenger.
        worth: (n_queries, N_ITEMS) whether the item is worth a click.
    """

    champion: IntArray
    challenger: IntArray
    worth: BoolArray

    @property
    def n_queries(self) -> int:
        """Queries that users choose from."""
        return len(self.champion)

    def worth_shown(self, rankings: IntArray, queries: IntArray) -> BoolArray:
        """Return whether each result of the queries' rankings is worth a click, (..., K)."""
        return self.worth[queries[..., np.newaxis], rankings[queries]]

    def equal(self) -> World:
        """Return a world in which no side is better: every query twice, with the rankings changed round."""
        champion = np.concatenate((self.champion, self.challenger))
        challenger = np.concatenate((self.challenger, self.champion))
        return World(champion, challenger, np.concatenate((self.worth, self.worth)))


@dataclass(frozen=True)
class Users:
    """How users behave.

    Attributes:
        queries_each: queries that a user makes during the test.
        alike: every user looks at the results of half of the queries; if not, the share is uniform over users.
        click_worth: probability of a click on a result that was looked at and is worth it.
        click_other: likewise where it is not worth it.
    """

    queries_each: int = 10
    alike: bool = False
    click_worth: float = 0.6
    click_other: float = 0.06

    def shares(self, n_users: int | tuple[int, ...], rng: np.random.Generator) -> FloatArray:
        """Return the share of queries whose results each user looks at."""
        return np.full(n_users, 0.5) if self.alike else rng.random(n_users)

    def click_chance(self, worth: BoolArray) -> FloatArray:
        """Return the probability of a click at each rank, (..., K), for a user who looks at the results."""
        return np.where(worth, self.click_worth, self.click_other) / np.arange(1, K + 1)


def make_world(dims: tuple[int, int] = (8, 12), n_worth: int | None = 3) -> World:
    """Return the rankings of two models.

    Args:
        dims: principal components of the champion and of the challenger.
        n_worth: images that are worth a click; None: all of the same digit.
    """
    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    items, queries = order[:N_ITEMS], order[N_ITEMS:]
    rankings = []
    for dim in dims:
        model = PCA(dim, random_state=0).fit(pixels[items])
        rankings.append(_nearest(model.transform(queries_of := pixels[queries]), model.transform(pixels[items]), K))
    if n_worth is None:
        worth = digits[queries][:, np.newaxis] == digits[items]
    else:
        worth = np.zeros((len(queries), N_ITEMS), dtype=bool)
        np.put_along_axis(worth, _nearest(queries_of, pixels[items], n_worth), True, axis=1)
    return World(rankings[0], rankings[1], worth)


def split_clicks(world: World, users: Users, challenger: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Return what users of a split click, (..., queries_each, K).

    Args:
        challenger: (...) whether the challenger serves each user.
    """
    queries = rng.integers(0, world.n_queries, (*challenger.shape, users.queries_each))
    worth = np.where(
        challenger[..., np.newaxis, np.newaxis],
        world.worth_shown(world.challenger, queries),
        world.worth_shown(world.champion, queries),
    )
    looks = rng.random(queries.shape) < users.shares(challenger.shape, rng)[..., np.newaxis]
    return (rng.random(worth.shape) < users.click_chance(worth)) & looks[..., np.newaxis]


def interleaved_outcomes(
    world: World, users: Users, interleave: Interleave, rng: np.random.Generator, seed: int
) -> Iterator[Outcome]:
    """Yield the outcome of one query after the other, without end."""
    coin = Random(seed)
    champion, challenger = world.champion.tolist(), world.challenger.tolist()
    while True:
        n_users = 100
        looks = rng.random((n_users, users.queries_each)) < users.shares(n_users, rng)[:, np.newaxis]
        queries = rng.integers(0, world.n_queries, looks.size)
        chances = rng.random((looks.size, K))
        for query, looked, chance in zip(queries, looks.ravel(), chances, strict=True):
            if not looked:
                yield "tie"
                continue
            draft = interleave(champion[query], challenger[query], K, coin)
            clicked = chance < users.click_chance(world.worth[query, np.array(draft.ids)])
            yield judge(draft, {draft.ids[rank]: 1.0 for rank in np.flatnonzero(clicked)})


def _nearest(queries: FloatArray, items: FloatArray, k: int) -> IntArray:
    distances = ((queries[:, np.newaxis] - items[np.newaxis]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]
