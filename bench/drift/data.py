"""Real rows to detect drift in, and real ways to spoil them.

Images are Fashion-MNIST's, seen by a PCA; texts are the glosses of WordNet's nouns, seen by TF-IDF and a truncated
SVD. Both models, and the classifier whose answers are the categories, are fitted on rows that are used for nothing
else. The rest is the pool that references and windows come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import rotate
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_extraction.text import TfidfVectorizer

from roost.demo.images import load_images
from roost.errors import MissingDependency

Vectors: TypeAlias = npt.NDArray[np.float32]
Categories: TypeAlias = npt.NDArray[np.int64]
Indices: TypeAlias = npt.NDArray[np.int64]

WORDNET_FOLDER = Path("/usr/share/wordnet")
"""Where Debian's package wordnet-base puts its files."""

DIM = 64
N_FIT = 6_000

NOISE_DEVIATION = 0.1
ROTATION_DEGREES = 10.0
BAG, BAG_SHARE = 8, 0.3
DROPPED_SHARE = 0.3
MISSPELT_SHARE = 0.2
VERB_SHARE = 0.3


@dataclass(frozen=True)
class Spoiled:
    """A corruption: what it does, and a function of indices into the pool to the vectors and categories."""

    what: str
    rows: Callable[[Indices, np.random.Generator], tuple[Vectors, Categories]]


@dataclass(frozen=True)
class Pool:
    """Rows that neither model was fitted on.

    Attributes:
        vectors: (n, DIM) float32, in random order.
        categories: (n,) what the classifier takes each row for.
        corruptions: by name.
    """

    name: str
    vectors: Vectors
    categories: Categories
    corruptions: Mapping[str, Spoiled]


def images(seed: int = 0) -> Pool:
    """Return Fashion-MNIST in an order that the seed gives. Raises: MissingDependency: it is not installed."""
    found = load_images("fashion-mnist")
    order = np.random.default_rng(seed).permutation(len(found.gallery))
    pixels, labels = found.gallery[order], found.gallery_labels[order]
    pca = PCA(DIM, random_state=0).fit(pixels[:N_FIT])
    classes = LinearDiscriminantAnalysis().fit(pca.transform(pixels[:N_FIT]), labels[:N_FIT])
    pixels, labels = pixels[N_FIT:], labels[N_FIT:]
    bags = np.flatnonzero(labels == BAG)

    def seen(rows: npt.NDArray[Any]) -> tuple[Vectors, Categories]:
        vectors = pca.transform(rows)
        return vectors.astype(np.float32), classes.predict(vectors)

    def noisy(chosen: Indices, rng: np.random.Generator) -> tuple[Vectors, Categories]:
        rows = pixels[chosen]
        return seen(np.clip(rows + rng.normal(0, NOISE_DEVIATION, rows.shape), 0, 1))

    def rotated(chosen: Indices, rng: np.random.Generator) -> tuple[Vectors, Categories]:
        square = pixels[chosen].reshape(-1, *found.shape)
        return seen(rotate(square, ROTATION_DEGREES, axes=(1, 2), reshape=False, order=1).reshape(len(chosen), -1))

    def mixed(chosen: Indices, rng: np.random.Generator) -> tuple[Vectors, Categories]:
        # The bags come from the whole pool, and so may be in the reference too: that makes the task harder, not easier.
        replaced = rng.random(len(chosen)) < (BAG_SHARE - 0.1) / 0.9
        return seen(pixels[np.where(replaced, rng.choice(bags, len(chosen)), chosen)])

    corruptions = {
        "noise": Spoiled(f"Gaussian noise, deviation {NOISE_DEVIATION:g} of the pixels' range", noisy),
        "rotation": Spoiled(f"turned by {ROTATION_DEGREES:g} degrees", rotated),
        "class mix": Spoiled(f"{BAG_SHARE:.0%} bags in place of 10 %", mixed),
    }
    return Pool("images", *seen(pixels), corruptions)


def glosses(part: str, folder: Path = WORDNET_FOLDER) -> tuple[list[str], Categories]:
    """Return the glosses of a part of speech and the number of the file of topics that each is in.

    Raises: MissingDependency: WordNet is not installed.
    Source: wndb(5WN), the format of WordNet's database files.
    """
    path = folder / f"data.{part}"
    if not path.exists():
        raise MissingDependency(f"WordNet is not in {folder}: install Debian's package wordnet-base")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("  ")]
    return [line.partition("| ")[2].strip() for line in lines], np.array([int(line.split()[1]) for line in lines])


def _dropped(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    return " ".join(word for word, chance in zip(words, rng.random(len(words)), strict=True) if chance > DROPPED_SHARE)


def _misspelt(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    for i, chance in enumerate(rng.random(len(words))):
        if chance < MISSPELT_SHARE and len(words[i]) > 3:
            at = int(rng.integers(0, len(words[i]) - 1))
            word = words[i]
            words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def texts(seed: int = 0) -> Pool:
    """Return WordNet's nouns in an order that the seed gives. Raises: MissingDependency: it is not installed."""
    nouns, topics = glosses("noun")
    verbs, _ = glosses("verb")
    order = np.random.default_rng(seed).permutation(len(nouns))
    fitted, pool = order[:N_FIT], [nouns[i] for i in order[N_FIT:]]
    tfidf = TfidfVectorizer(min_df=2, sublinear_tf=True)
    svd = TruncatedSVD(DIM, random_state=0).fit(tfidf.fit_transform(nouns[i] for i in fitted))
    classes = LinearDiscriminantAnalysis().fit(svd.transform(tfidf.transform(nouns[i] for i in fitted)), topics[fitted])

    def seen(rows: list[str]) -> tuple[Vectors, Categories]:
        vectors = svd.transform(tfidf.transform(rows))
        return vectors.astype(np.float32), classes.predict(vectors)

    def dropped(chosen: Indices, rng: np.random.Generator) -> tuple[Vectors, Categories]:
        return seen([_dropped(pool[i], rng) for i in chosen])

    def misspelt(chosen: Indices, rng: np.random.Generator) -> tuple[Vectors, Categories]:
        return seen([_misspelt(pool[i], rng) for i in chosen])

    def shifted(chosen: Indices, rng: np.random.Generator) -> tuple[Vectors, Categories]:
        foreign = rng.random(len(chosen)) < VERB_SHARE
        strange = rng.integers(0, len(verbs), len(chosen))
        return seen([verbs[v] if f else pool[i] for i, v, f in zip(chosen, strange, foreign, strict=True)])

    corruptions = {
        "words dropped": Spoiled(f"{DROPPED_SHARE:.0%} of the words left out", dropped),
        "typos": Spoiled(f"two letters changed places in {MISSPELT_SHARE:.0%} of the words", misspelt),
        "topic shift": Spoiled(f"{VERB_SHARE:.0%} glosses of verbs among those of nouns", shifted),
    }
    return Pool("texts", *seen(pool), corruptions)


POOLS: Mapping[str, Callable[[int], Pool]] = {"images": images, "texts": texts}
