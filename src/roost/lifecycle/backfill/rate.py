"""Holding work to a rate."""

from __future__ import annotations


class TokenBucket:
    """Lets `rate` records a second pass on average, and one second's worth of them at once.

    It keeps no clock: the caller says what time it is.

    Source: Turner 1986, "New directions in communications (or which way to the information age?)", the leaky bucket
    as a meter.
    """

    def __init__(self, rate: float) -> None:
        """Begin with a full bucket.

        Args:
            rate: records per second.
        """
        self._rate = rate
        self._tokens = rate
        self._at_s: float | None = None

    def take(self, n_records: int, now_s: float) -> float:
        """Take records out of the bucket, and return how many seconds to wait before they may pass.

        Args:
            now_s: seconds on any clock that never goes back.
        """
        since = now_s - self._at_s if self._at_s is not None else 0.0
        self._tokens = min(self._rate, self._tokens + since * self._rate)
        self._at_s = now_s
        self._tokens -= n_records
        return max(0.0, -self._tokens / self._rate)
