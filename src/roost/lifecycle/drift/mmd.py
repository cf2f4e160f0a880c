"""Maximum mean discrepancy: the distance between two samples in the space of a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from roost.errors import InvalidArgument
from roost.lifecycle.drift.detector import Detector, Rows
from roost.lifecycle.drift.permutation import p_value, permutations_for, random_windows

_ROWS_OF_MEDIAN = 500


def squared_distances(a: Rows, b: Rows) -> Rows:
    """Return (n_a, n_b), the squared Euclidean distance of each pair of rows."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * (a @ b.T)
    return np.asarray(np.maximum(squares, 0.0))


def mmd_squared(kernel: npt.NDArray[Any], windows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the unbiased estimate of MMD^2 for each window, from one kernel matrix of all rows.

    Args:
        kernel: (n, n) symmetric.
        windows: (n, n_windows), ones for the rows of a window; the rest is its reference.
    Returns: (n_windows,).
    Source: Gretton, Borgwardt, Rasch, Schoelkopf and Smola, "A kernel two-sample test", JMLR 13, 2012, equation 3.
    """
    diagonal = np.diagonal(kernel).astype(np.float64)
    row_sums = kernel.sum(axis=1, dtype=np.float64)
    n_window = windows.sum(axis=0, dtype=np.float64)
    n_reference = len(kernel) - n_window
    within = np.einsum("ij,ij->j", windows, kernel @ windows, dtype=np.float64)
    touching = row_sums @ windows
    between = touching - within
    rest = row_sums.sum() - 2 * touching + within
    own = diagonal @ windows
    return np.asarray(
        (within - own) / (n_window * (n_window - 1))
        + (rest - (diagonal.sum() - own)) / (n_reference * (n_reference - 1))
        - 2 * between / (n_window * n_reference)
    )


class Mmd(Detector):
    """MMD with a Gaussian kernel, its p-value by permutation.

    The kernel's width is the median distance between rows of the part of the reference that is set apart. All random
    windows are sums over one kernel matrix, of which the part within the reference is computed once.

    Args:
        n_permutations: random windows at most; by default enough for alpha.
        max_reference: memory and time grow with its square.
    Details: bandwidth, n_permutations.
    Source: Gretton et al., "A kernel two-sample test", JMLR 13, 2012.
    """

    name: ClassVar[str] = "mmd"
    share_set_apart: ClassVar[float] = 0.1

    def __init__(
        self,
        reference: npt.ArrayLike,
        *,
        alpha: float = 0.05,
        seed: int = 0,
        n_permutations: int | None = None,
        bandwidth: float | None = None,
        max_reference: int = 2_000,
        max_window: int = 1_000,
    ) -> None:
        self.n_permutations = permutations_for(alpha, n_permutations)
        if bandwidth is not None and not bandwidth > 0:
            raise InvalidArgument(f"bandwidth is {bandwidth}; it is greater than 0")
        self._bandwidth = bandwidth
        super().__init__(reference, alpha=alpha, seed=seed, max_reference=max_reference, max_window=max_window)

    def _learn(self, apart: Rows, compared: Rows, rng: np.random.Generator) -> None:
        self._centre = apart.mean(axis=0)
        if self._bandwidth is None:
            few = apart[:_ROWS_OF_MEDIAN] - self._centre
            squares = squared_distances(few, few)[np.triu_indices(len(few), 1)]
            self.bandwidth = float(np.sqrt(np.median(squares))) or 1.0
        else:
            self.bandwidth = self._bandwidth
        self._reference = (compared - self._centre).astype(np.float32)
        self._within = self._kernel(self._reference, self._reference)

    def _kernel(self, a: Rows, b: Rows) -> Rows:
        squares = squared_distances(a, b)
        squares *= -0.5 / self.bandwidth**2
        return np.exp(squares, out=squares)

    def _compare(self, window: Rows, rng: np.random.Generator) -> tuple[float, float, Mapping[str, Any]]:
        rows = (window - self._centre).astype(np.float32)
        cross = self._kernel(self._reference, rows)
        kernel = np.block([[self._within, cross], [cross.T, self._kernel(rows, rows)]])
        real = np.zeros((len(kernel), 1), dtype=np.float32)
        real[len(self._reference) :] = 1
        observed = float(mmd_squared(kernel, real)[0])

        def draw(n: int) -> npt.NDArray[np.float64]:
            return mmd_squared(kernel, random_windows(len(kernel), len(rows), n, rng, np.float32))

        p, n_drawn = p_value(observed, draw, self.n_permutations)
        return observed, p, {"bandwidth": self.bandwidth, "n_permutations": n_drawn}
