"""The data sets, and what happens where one is missing or damaged."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from roost.demo.images import FASHION_CLASSES, FASHION_MNIST_FOLDER, load_images, read_idx
from roost.errors import Corruption, MissingDependency


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


@pytest.fixture
def fashion_folder(tmp_path: Path) -> Path:
    """Fashion-MNIST's four files with 20 and 10 tiny images."""
    for part, n in (("train", 20), ("t10k", 10)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", np.arange(n * 6).reshape(n, 2, 3) % 256)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(n) % 10)
    return tmp_path


def test_the_digits_are_split_without_overlap_and_always_in_the_same_way():
    images, again = load_images("digits"), load_images("digits")
    assert images.gallery.shape == (1257, 64)
    assert images.held_out.shape == (540, 64)
    assert (np.bincount(images.held_out_labels) >= 50).all()
    assert images.gallery.dtype == np.float32
    assert images.gallery.min() == 0.0
    assert images.gallery.max() == 1.0
    np.testing.assert_array_equal(images.held_out, again.held_out)


def test_fashion_mnist_is_read_from_its_files(fashion_folder):
    images = load_images("fashion-mnist", fashion_folder)
    assert images.classes == FASHION_CLASSES
    assert images.shape == (2, 3)
    assert images.gallery.shape == (20, 6)
    np.testing.assert_allclose(images.gallery[1], np.arange(6, 12) / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(images.held_out_labels, np.arange(10))


@pytest.mark.skipif(not FASHION_MNIST_FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_debians_files_hold_the_data_set():
    images = load_images("fashion-mnist")
    assert images.gallery.shape == (60_000, 784)
    assert np.bincount(images.gallery_labels).tolist() == [6_000] * 10
    assert set(images.held_out_labels.tolist()) == set(range(10))


def test_a_missing_data_set_names_the_package(tmp_path):
    with pytest.raises(MissingDependency, match="apt-get install dataset-fashion-mnist"):
        load_images("fashion-mnist", tmp_path / "nowhere")


def test_a_missing_file_is_named(fashion_folder):
    (fashion_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(MissingDependency, match="t10k-labels"):
        load_images("fashion-mnist", fashion_folder)


def damaged(content: bytes) -> list[bytes]:
    raw = gzip.decompress(content)
    return [
        b"not gzip",
        content[:-20],
        gzip.compress(b"\0\0"),
        gzip.compress(raw[:6]),
        gzip.compress(raw[:-1]),
        gzip.compress(b"\0\1" + raw[2:]),
        gzip.compress(raw[:2] + b"\x0d" + raw[3:]),
    ]


@pytest.mark.parametrize("kind", range(7))
def test_a_damaged_file_is_named(fashion_folder, kind):
    path = fashion_folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(damaged(path.read_bytes())[kind])
    with pytest.raises(Corruption, match="train-images-idx3-ubyte"):
        read_idx(path)
