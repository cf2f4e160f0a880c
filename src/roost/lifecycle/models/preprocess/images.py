"""Images as content."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData, MissingDependency
from roost.lifecycle.models.preprocess.base import Batch, Preprocessor

_MODES = {"grey": "L", "rgb": "RGB"}
_LAYOUTS = ("flat", "hwc", "chw")


@dataclass(frozen=True)
class Images(Preprocessor):
    """Turns images into float32 arrays of one size, with values from 0 to 1.

    An image is a uint8 array (height, width), (height, width, 3) or (height, width, 4), a `PIL.Image`, or a
    `pathlib.Path` of an image's file. A string is refused: what comes from outside cannot name a file here.

    Attributes:
        width: of the result, in pixels.
        height: likewise.
        mode: `grey` for one channel, `rgb` for three.
        layout: of the result: `flat` (n, height * width * channels), `hwc` (n, height, width, channels),
            or `chw` (n, channels, height, width).
    """

    name: ClassVar[str] = "images"
    width: int
    height: int
    mode: str = "grey"
    layout: str = "flat"

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidArgument(f"width={self.width} and height={self.height} are not the size of an image")
        if self.mode not in _MODES:
            raise InvalidArgument(f"mode={self.mode!r} is not known; use one of {', '.join(_MODES)}")
        if self.layout not in _LAYOUTS:
            raise InvalidArgument(f"layout={self.layout!r} is not known; use one of {', '.join(_LAYOUTS)}")

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.height, self.width) if self.mode == "grey" else (self.height, self.width, 3)

    def __call__(self, batch: Batch) -> npt.NDArray[np.float32]:
        pixels = np.empty((len(batch), *self._shape), dtype=np.uint8)
        for row, image in enumerate(batch):
            if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape == self._shape:
                pixels[row] = image
            else:
                pixels[row] = self._converted(row, image)
        values = pixels.astype(np.float32) / np.float32(255)
        if self.layout == "flat":
            return values.reshape(len(values), -1)
        channels = values.reshape(len(values), self.height, self.width, -1)
        return channels if self.layout == "hwc" else np.ascontiguousarray(channels.transpose(0, 3, 1, 2))

    def example(self) -> Batch:
        return np.zeros((1, *self._shape), dtype=np.uint8)

    def _converted(self, row: int, image: Any) -> npt.NDArray[np.uint8]:
        """Return one image resized and with the channels that are wanted."""
        pillow = _pillow()
        if isinstance(image, np.ndarray):
            if (
                image.dtype != np.uint8
                or image.ndim not in (2, 3)
                or (image.ndim == 3 and image.shape[2] not in (3, 4))
            ):
                raise InvalidData(
                    f"image {row} is an array of shape {image.shape} and type {image.dtype}; it must be uint8 and "
                    "(height, width), (height, width, 3) or (height, width, 4)"
                )
            opened = pillow.fromarray(image)
        elif isinstance(image, pillow.Image):
            opened = image
        elif isinstance(image, Path):
            opened = _open(pillow, row, image)
        else:
            raise InvalidData(
                f"image {row} is of type {type(image).__name__}; give a uint8 array, a PIL image or a pathlib.Path"
            )
        resized = opened.convert(_MODES[self.mode])
        if resized.size != (self.width, self.height):
            resized = resized.resize((self.width, self.height), pillow.Resampling.BILINEAR)
        return np.asarray(resized, dtype=np.uint8)


def _open(pillow: Any, row: int, path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # A file of a few kilobytes can hold an image of gigabytes; Pillow warns of one.
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(path) as opened:
                opened.load()
                return opened.copy()
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise InvalidData(f"image {row} cannot be read: {error}") from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency("resizing and opening images needs Pillow: pip install 'roost[images]'") from error
    return Image
