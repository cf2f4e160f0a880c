"""How far the share of right predictions can be trusted that few labels were counted for."""

from __future__ import annotations

from roost.errors import MissingDependency

LEVEL = 0.95


def interval(n_right: int, n: int) -> tuple[float, float]:
    """Return a 95 % interval of the accuracy, of which n labels are a random sample.

    It is exact: it holds the accuracy at least as often as it says for any number of labels, one included.

    Args:
        n_right: labels that agreed with the prediction; n: all labels, at least 1.
    Raises: MissingDependency: scipy is not installed.
    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
        Biometrika 26(4), 1934.
    """
    try:
        from scipy.special import betaincinv
    except ImportError as error:
        raise MissingDependency(
            f"the interval of an accuracy needs scipy ({error}): pip install 'roost[lifecycle]'"
        ) from error
    tail = (1 - LEVEL) / 2
    n_wrong = n - n_right
    low = float(betaincinv(n_right, n_wrong + 1, tail)) if n_right else 0.0
    high = float(betaincinv(n_right + 1, n_wrong, 1 - tail)) if n_wrong else 1.0
    return low, high
