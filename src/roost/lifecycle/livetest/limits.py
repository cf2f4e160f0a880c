"""Evidence that a deployment does harm: its mean loss is over what is allowed.

Every observation is a loss between 0 and 1. Under the hypothesis that the mean loss, given the past, is at most
`allowed`, the wealth of whoever bets against it

    W <- W (1 + b (loss - allowed)),   b = (m - allowed) / (allowed (1 - allowed)),

is a supermartingale as long as b >= 0 depends on earlier losses alone; m is their mean, with half a loss in one
observation before the first. By Ville's inequality it ever reaches 1 / alpha with probability at most alpha.
A second bet begins anew every `BLOCK` observations, so that a deployment that breaks after a long good time is found
out as soon; its share of alpha, which is half, is spent over the blocks: block k gets 6 / (pi k)^2 of it.

Sources: Ville 1939; Krichevsky and Trofimov, "The performance of universal encoding", IEEE Transactions on
Information Theory 27(2), 1981 (the half); Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", JRSS B 86(1), 2024, section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from roost.errors import InvalidArgument

BLOCK = 50


@dataclass(frozen=True, slots=True)
class LimitTest:
    """A one-sided test that a mean loss keeps a limit. Immutable: `update` returns the next.

    Attributes:
        allowed: the largest mean loss that is kept, from 0 to 1.
        alpha: the chance that one that is kept is ever taken for broken.
        n: losses seen.
        total: their sum.
        log_e: logarithm of the wealth since the first loss.
        block_total: sum of the losses of the present block.
        block_log_e: logarithm of the wealth since the present block began.
        breached: whether the evidence was ever enough; it stays.
    """

    allowed: float
    alpha: float = 0.01
    n: int = 0
    total: float = 0.0
    log_e: float = 0.0
    block_total: float = 0.0
    block_log_e: float = 0.0
    breached: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.allowed <= 1.0:
            raise InvalidArgument(f"the mean loss that is allowed must lie between 0 and 1, not at {self.allowed}")
        if not 0.0 < self.alpha < 1.0:
            raise InvalidArgument(f"alpha must lie between 0 and 1, not {self.alpha}")

    @property
    def mean(self) -> float | None:
        """The mean loss so far; None before the first."""
        return self.total / self.n if self.n else None

    @property
    def n_in_block(self) -> int:
        """Losses in the block of the last one."""
        return self.n and (self.n - 1) % BLOCK + 1

    def update(self, loss: float) -> LimitTest:
        """Return the test with one more loss.

        Raises: InvalidArgument: the loss does not lie between 0 and 1.
        """
        if not 0.0 <= loss <= 1.0:
            raise InvalidArgument(f"a loss must lie between 0 and 1, not at {loss}")
        in_block = self.n % BLOCK
        block_total, block_log_e = (self.block_total, self.block_log_e) if in_block else (0.0, 0.0)
        n, total = self.n + 1, self.total + loss
        if self.breached:
            return replace(self, n=n, total=total, block_total=block_total + loss)
        log_e = self.log_e + self._gain(loss, self.total, self.n)
        block_log_e += self._gain(loss, block_total, in_block)
        share = math.log(2.0 / self.alpha)
        spent = share + math.log((self.n // BLOCK + 1) ** 2 * math.pi**2 / 6.0)
        breached = log_e >= share or block_log_e >= spent
        return LimitTest(self.allowed, self.alpha, n, total, log_e, block_total + loss, block_log_e, breached)

    def _gain(self, loss: float, total: float, n: int) -> float:
        """Return what the next bet adds to the logarithm of the wealth after `n` losses of that sum."""
        if self.allowed >= 1.0:
            return 0.0
        if self.allowed <= 0.0:
            return math.inf if loss > 0.0 else 0.0
        guess = (total + 0.5) / (n + 1.0)
        if guess <= self.allowed:
            return 0.0
        stake = (guess - self.allowed) / (self.allowed * (1.0 - self.allowed))
        return math.log1p(stake * (loss - self.allowed))
