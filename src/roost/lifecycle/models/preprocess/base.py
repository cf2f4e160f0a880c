"""A step of preprocessing: what it promises, and a step for numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument, InvalidData

Batch: TypeAlias = Sequence[Any] | npt.NDArray[Any]


class Preprocessor(ABC):
    """A step that turns a batch of content into an array, or an array into another.

    Subclasses are frozen dataclasses whose fields JSON can hold. A step is part of the fingerprint of the model
    that it prepares content for, and may be used from any number of threads at once.
    """

    name: ClassVar[str]
    """The name under which stored steps are found."""

    @abstractmethod
    def __call__(self, batch: Batch) -> npt.NDArray[Any]:
        """Return the array, one entry of its first axis for each of the batch, in its order.

        Raises: InvalidData: the content is not what the step takes; the message says which one.
        """

    def example(self) -> Batch | None:
        """Return a batch of one piece of content that the step takes; None where only the data can say."""
        return None

    def configuration(self) -> Mapping[str, Any]:
        """Return name and options, by which `steps_from` makes the step again."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Scale(Preprocessor):
    """Takes the mean off numbers and divides them by the scale.

    Attributes:
        mean: one number, or one for each column.
        scale: likewise; not 0.
    """

    name: ClassVar[str] = "scale"
    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        for option in ("mean", "scale"):
            value = getattr(self, option)
            if not isinstance(value, (int, float)):
                object.__setattr__(self, option, tuple(float(number) for number in value))
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scale).all() and np.all(self.scale)):
            raise InvalidArgument("mean= and scale= are finite numbers, and scale= is not 0")

    def __call__(self, batch: Batch) -> npt.NDArray[Any]:
        try:
            numbers = np.asarray(batch, dtype=np.float64)
            scaled: npt.NDArray[Any] = (numbers - np.asarray(self.mean)) / np.asarray(self.scale)
            return scaled
        except (ValueError, TypeError) as error:
            raise InvalidData(f"the content is not numbers of the shape that is scaled: {error}") from error
