from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roost.errors import InvalidArgument, InvalidData, MissingDependency
from roost.lifecycle.models.preprocess import Images

COLOURED = np.zeros((6, 4, 3), dtype=np.uint8)
COLOURED[:3] = (255, 0, 0)


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    made = Images(width=4, height=3)([grey, grey])
    assert made.shape == (2, 12) and made.dtype == np.float32
    np.testing.assert_array_equal(made[0], (grey / np.float32(255)).astype(np.float32).ravel())


@pytest.mark.parametrize(
    ("mode", "layout", "shape"),
    [
        ("grey", "flat", (1, 24)),
        ("grey", "hwc", (1, 6, 4, 1)),
        ("grey", "chw", (1, 1, 6, 4)),
        ("rgb", "flat", (1, 72)),
        ("rgb", "hwc", (1, 6, 4, 3)),
        ("rgb", "chw", (1, 3, 6, 4)),
    ],
)
def test_layouts(mode: str, layout: str, shape: tuple[int, ...]) -> None:
    made = Images(4, 6, mode, layout)([COLOURED])
    assert made.shape == shape and made.flags.c_contiguous
    if mode == "rgb" and layout != "flat":
        red = made[0, 0] if layout == "chw" else made[0, ..., 0]
        np.testing.assert_array_equal(red, COLOURED[..., 0] / 255)


def test_arrays_pictures_and_files_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(COLOURED).save(path)
    with_alpha = np.dstack([COLOURED, np.full((6, 4), 255, dtype=np.uint8)])
    made = Images(2, 3, "rgb")([COLOURED, Image.fromarray(COLOURED), path, with_alpha])
    assert made.shape == (4, 18)
    for row in made[1:]:
        np.testing.assert_array_equal(row, made[0])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((6, 4)), "type float64; it must be uint8"),
        (np.zeros(5, dtype=np.uint8), r"shape \(5,\)"),
        (np.zeros((2, 2, 2), dtype=np.uint8), "shape"),
        ("/etc/passwd", r"of type str; give a uint8 array, a PIL image or a pathlib\.Path"),
        (Path("nowhere.png"), "cannot be read"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=f"image 1 .*{message}"):
        Images(4, 6)([np.zeros((6, 4), dtype=np.uint8), image])


def test_a_file_that_is_no_image_or_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(InvalidData, match="cannot be read"):
        Images(4, 6)([text])
    path = tmp_path / "large.png"
    Image.fromarray(COLOURED).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(InvalidData, match="cannot be read"):
        Images(2, 2)([path])


@pytest.mark.parametrize("options", [{"width": 0}, {"height": 0}, {"mode": "cmyk"}, {"layout": "whc"}])
def test_options_that_are_not_known_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Images(**{"width": 2, "height": 2, **options})


def test_without_pillow_images_of_the_right_size_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert Images(4, 6)([np.zeros((6, 4), dtype=np.uint8)]).shape == (1, 24)
    with pytest.raises(MissingDependency, match=r"roost\[images\]"):
        Images(2, 2)([COLOURED])
