"""Labelled images that need no download."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from roost.errors import Corruption, MissingDependency

DataSet: TypeAlias = Literal["digits", "fashion-mnist"]
Pixels: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""

FASHION_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

_N_HELD_OUT_FASHION = 600
_HELD_OUT_SHARE_DIGITS = 0.3
_UBYTE = 0x08


@dataclass(frozen=True)
class ImageSet:
    """Images to search among, and held-out images to search with.

    Attributes:
        gallery: (n_gallery, height * width) float32, pixels from 0 to 1.
        gallery_labels: (n_gallery,) int64, indices into `classes`.
        held_out: (n_held_out, height * width) float32; no model sees them in training.
        held_out_labels: (n_held_out,) int64.
        shape: height and width.
    """

    name: DataSet
    classes: tuple[str, ...]
    gallery: Pixels
    gallery_labels: Labels
    held_out: Pixels
    held_out_labels: Labels
    shape: tuple[int, int]


def load_images(name: DataSet, folder: Path = FASHION_MNIST_FOLDER) -> ImageSet:
    """Return one of the two data sets, split in the same way on every call.

    Args:
        folder: where the four files of Fashion-MNIST lie.
    Raises:
        MissingDependency: Fashion-MNIST is not installed.
        Corruption: a file of Fashion-MNIST is damaged; the message names it.
    """
    return _digits() if name == "digits" else _fashion_mnist(folder)


def _digits() -> ImageSet:
    bunch = load_digits()
    pixels = (bunch.data / 16.0).astype(np.float32)
    gallery, held_out, gallery_labels, held_out_labels = train_test_split(
        pixels, bunch.target.astype(np.int64), test_size=_HELD_OUT_SHARE_DIGITS, random_state=0, stratify=bunch.target
    )
    classes = tuple(str(name) for name in bunch.target_names)
    return ImageSet("digits", classes, gallery, gallery_labels, held_out, held_out_labels, (8, 8))


def _fashion_mnist(folder: Path) -> ImageSet:
    if not folder.is_dir():
        raise MissingDependency(
            f"Fashion-MNIST is not in {folder}: install Debian's package dataset-fashion-mnist "
            "(apt-get install dataset-fashion-mnist), or use the digits, which need nothing"
        )
    parts = {part: read_idx(folder / f"{part}-ubyte.gz") for part in _FASHION_PARTS}
    train, train_labels, test, test_labels = (parts[part] for part in _FASHION_PARTS)
    height, width = int(train.shape[1]), int(train.shape[2])
    return ImageSet(
        "fashion-mnist",
        FASHION_CLASSES,
        _as_pixels(train),
        train_labels.astype(np.int64),
        _as_pixels(test[:_N_HELD_OUT_FASHION]),
        test_labels[:_N_HELD_OUT_FASHION].astype(np.int64),
        (height, width),
    )


_FASHION_PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def _as_pixels(images: npt.NDArray[np.uint8]) -> Pixels:
    return (images.reshape(len(images), -1) / np.float32(255.0)).astype(np.float32)


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of bytes that a gzipped IDX file holds.

    Raises:
        MissingDependency: the file is not there.
        Corruption: it is not a whole gzipped IDX file of bytes.
    Source: "The IDX file format", LeCun, Cortes and Burges, the MNIST database.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
        zeros, dtype, n_dims = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{n_dims}I", content, 4)
    except FileNotFoundError as error:
        raise MissingDependency(f"{path} is missing: install dataset-fashion-mnist again") from error
    except (OSError, EOFError, struct.error) as error:
        raise Corruption(f"{path} is not a gzipped IDX file: {error}") from error
    start = 4 + 4 * n_dims
    if zeros != 0 or dtype != _UBYTE or len(content) - start != int(np.prod(shape)):
        raise Corruption(f"{path} is not an IDX file of bytes with the size that its head says")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
