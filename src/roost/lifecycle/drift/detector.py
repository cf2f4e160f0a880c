"""The contract of drift detectors: a reference is given once, each window is tested against it.

A detector asks one question of a window: would rows like these be a surprise if they came from where the reference
came from? Its p-value is small for that reason alone, at the rate that it says. Two things make this true.

What is learned from the reference (scale, components, kernel width, bins) is learned from a part of it that is set
apart and never compared, so that the rows compared with the window are as new to it as the window's are. And every
p-value is the rank of the window among random windows made of the same rows, or an exact law of ranks.

The promise is over references and windows both. Windows tested against one reference share its accidents: if it
happens to lie a little off, each window looks a little off. The share of false alarms with one reference is near
the stated one when the reference is much larger than the window (twenty times is plenty), and is not when they are
of like size.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from roost.errors import DimensionMismatch, InvalidArgument, InvalidData, NotFinite
from roost.lifecycle.drift.permutation import checked_alpha

Floats: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[Any]

MIN_ROWS = 10
"""Fewest rows of a window, and of each part of a reference, that a test is run on."""

_MAX_SET_APART = 2_000


@dataclass(frozen=True)
class DriftResult:
    """What a detector says of one window.

    Attributes:
        name: the detector's.
        statistic: its distance between window and reference; its unit is the detector's own.
        p_value: the probability of a distance as large if nothing has changed.
        is_drift: whether p_value <= alpha.
        alpha: the rate of false alarms that was asked for.
        n_reference: rows of the reference that were compared.
        n_window: rows of the window that were compared.
        details: what else the detector found, by name: plain numbers, strings and lists of them.
    """

    name: str
    statistic: float
    p_value: float
    is_drift: bool
    alpha: float
    n_reference: int
    n_window: int
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, ready for JSON."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "details": dict(self.details)}

    def __str__(self) -> str:
        verdict = "drift" if self.is_drift else "no drift"
        return f"{self.name}: {verdict} (statistic {self.statistic:.4g}, p {self.p_value:.4g}, alpha {self.alpha:g})"


class Detector(ABC):
    """Compares windows with a reference.

    A detector does not change after it was made; any number of threads may call `test`. The same window gives the
    same result: the random windows are drawn from the seed and from the window's bytes.

    Args:
        reference: (n_reference, dim) numbers, or (n_reference,) for one feature. Copied as far as it is needed.
        alpha: the share of windows that raise an alarm although nothing has changed.
        seed: of all that is random.
        max_reference: more rows than this are thinned out to it at random; likewise `max_window`.
    Raises:
        InvalidArgument: alpha is not between 0 and 1, a limit is too small, or the reference has too few rows.
        InvalidData: the reference is not an array of that form. NotFinite: it holds NaN or infinity.
    """

    name: ClassVar[str]
    """The name in the table of detectors, and of the results."""

    is_exact: ClassVar[bool] = False
    """Whether its p-values are of an exact law, as small as they may be, and not ranks among random windows."""

    share_set_apart: ClassVar[float] = 0.0
    """Share of the reference that the detector learns from and then leaves out of the comparison."""

    def __init__(
        self,
        reference: npt.ArrayLike,
        *,
        alpha: float = 0.05,
        seed: int = 0,
        max_reference: int = 4_000,
        max_window: int = 1_000,
    ) -> None:
        if max_reference < 2 * MIN_ROWS or max_window < MIN_ROWS:
            raise InvalidArgument(
                f"max_reference is {max_reference} and max_window {max_window}; "
                f"they are at least {2 * MIN_ROWS} and {MIN_ROWS}"
            )
        rows = self._checked(reference, "reference")
        if len(rows) < 2 * MIN_ROWS:
            raise InvalidArgument(f"the reference has {len(rows)} rows; at least {2 * MIN_ROWS} are needed")
        self.alpha = checked_alpha(alpha)
        self.seed = seed
        self.max_window = max_window
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(rows))[:max_reference]
        n_apart = min(int(len(chosen) * self.share_set_apart), _MAX_SET_APART)
        if self.share_set_apart:
            n_apart = max(n_apart, MIN_ROWS)
        self._row_shape = rows.shape[1:]
        self._learn(rows[chosen[:n_apart]], rows[chosen[n_apart:]], rng)
        self.n_reference = len(chosen) - n_apart

    def test(self, window: npt.ArrayLike) -> DriftResult:
        """Compare one window with the reference.

        Args:
            window: (n_window, dim) of the reference's kind, none of them rows of the reference; not modified.
        Raises:
            InvalidArgument: the window has fewer than MIN_ROWS rows.
            DimensionMismatch: its rows are of another length than the reference's.
            InvalidData: it is not an array of that form. NotFinite: it holds NaN or infinity.
        """
        rows = self._checked(window, "window")
        if rows.shape[1:] != self._row_shape:
            raise DimensionMismatch(f"the window's rows have the shape {rows.shape[1:]}, not {self._row_shape}")
        if len(rows) < MIN_ROWS:
            raise InvalidArgument(f"the window has {len(rows)} rows; at least {MIN_ROWS} are needed")
        rng = np.random.default_rng([self.seed, zlib.crc32(np.ascontiguousarray(rows).tobytes())])
        if len(rows) > self.max_window:
            rows = rows[rng.choice(len(rows), self.max_window, replace=False)]
        statistic, p_value, details = self._compare(rows, rng)
        return DriftResult(
            name=self.name,
            statistic=float(statistic),
            p_value=float(p_value),
            is_drift=bool(p_value <= self.alpha),
            alpha=self.alpha,
            n_reference=self.n_reference,
            n_window=len(rows),
            details=MappingProxyType(dict(details)),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_reference} reference rows, alpha {self.alpha:g})"

    def _checked(self, rows: npt.ArrayLike, what: str) -> Rows:
        """Return the rows as an array (n, dim); detectors of other kinds of rows override this."""
        try:
            array = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidData(f"the {what} is not an array of numbers: {error}") from error
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] == 0:
            raise InvalidData(f"the {what} has the shape {array.shape}; (n, dim) or (n,) is needed")
        if not np.isfinite(array).all():
            raise NotFinite(f"the {what} holds NaN or infinity")
        return array

    @abstractmethod
    def _learn(self, apart: Rows, compared: Rows, rng: np.random.Generator) -> None:
        """Learn from `apart` and keep what is needed of `compared`; called once, by the constructor."""

    @abstractmethod
    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        """Return statistic, p-value and details; changes nothing."""
