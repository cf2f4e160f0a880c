"""How a live test stands, as a value, a text, a table and a plot."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from roost.errors import InvalidArgument, MissingDependency
from roost.lifecycle.html import table
from roost.lifecycle.live.feedback import KINDS
from roost.lifecycle.livetest import power

if TYPE_CHECKING:
    from matplotlib.figure import Figure

State: TypeAlias = Literal["running", "decided", "stopped"]
Decision: TypeAlias = Literal["champion", "challenger", "no difference", "undecided"]

_LARGEST_EFFECT = 0.45
"""Of an interleaved test for the outlook: one side does not win everything for ever."""


LEFT_OUT = frozenset({"p_values"})
"""What `TestStatus.to_dict` leaves out, for its length."""


@dataclass(frozen=True, slots=True)
class ArmStatus:
    """One deployment of a live test.

    Attributes:
        n: units that say something about it: queries, or users of a split.
        mean: of a split, the mean value of its units; of a shadow test, the mean difference to the champion.
        deviation: the standard deviation of the same.
        n_won: queries on which it was better than the champion; None in a split.
        n_lost: queries on which it was worse; None in a split.
        effect: the estimated difference to the champion: of win rates from 1/2, or of means; None for the champion.
        interval: of the effect; with probability 1 - alpha it holds the true one at every moment at once.
        p_value: anytime-valid, corrected for the number of challengers.
        standing: "better", "worse" or "same" as the champion once that is known.
        n_answers: answers that this process got of it.
        n_errors: of these, the failed ones.
        n_empty: of these, the empty ones.
        latency_ms: the median of the last answers that this process got of it.
        agreement: of a shadow test, the mean share of its results that the champion has too.
    """

    deployment: str
    n: int
    mean: float | None = None
    deviation: float | None = None
    n_won: int | None = None
    n_lost: int | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    standing: str | None = None
    n_answers: int = 0
    n_errors: int = 0
    n_empty: int = 0
    latency_ms: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class TestStatus:
    """A live test at one moment.

    Attributes:
        state: "running", "decided" (somebody won, there is no difference, or queries or time are used
            up), or "stopped" (by hand, by a promotion, or by a guardrail: see `reason`).
        decision: who is better; "undecided" while that is not known.
        challenger: the challenger; of several the one that won, or else the first.
        n_queries: units counted: queries with feedback, or users of a split.
        champion_wins: queries that the champion won against `challenger`; 0 in a split.
        p_value: of `challenger`, anytime-valid: looking at it as often as one likes keeps its promise.
        evidence: the largest e-value now; the test decides at the number of challengers / alpha.
        interval: of the challenger's win rate when interleaved, otherwise of its difference to the champion.
        p_values: of `challenger` after each of its units.
        n_late: pieces of feedback that came after their window.
        n_left_out: of a shadow test, queries that were not mirrored because the challenger could not keep up.
        n_ignored: pieces of feedback on the test's queries whose kind is not the `metric`: they count for nothing.
    """

    __test__ = False

    test_id: int
    state: State
    decision: Decision
    champion: str
    challenger: str
    alpha: float
    n_queries: int
    champion_wins: int
    challenger_wins: int
    ties: int
    p_value: float
    evidence: float
    interval: tuple[float, float]
    p_values: tuple[float, ...] = field(repr=False)
    method: str = "interleave"
    metric: str = "click"
    margin: float | None = None
    reason: str = ""
    arms: tuple[ArmStatus, ...] = field(default=(), repr=False)
    n_late: int = 0
    n_left_out: int = 0
    n_ignored: int = 0

    def as_evidence(self) -> dict[str, Any]:
        """Return what the ledger keeps of a test."""
        names = ("test_id", "method", "metric", "decision", "champion", "challenger", "alpha", "margin", "n_queries")
        counts = ("champion_wins", "challenger_wins", "ties", "p_value", "n_late", "n_left_out", "n_ignored")
        arms = {arm.deployment: {"n": arm.n, "effect": arm.effect, "p_value": arm.p_value} for arm in self.arms}
        return {name: getattr(self, name) for name in names + counts} | ({"arms": arms} if len(arms) > 2 else {})

    def n_more(self) -> int | None:
        """Return how many more queries (of a split: users) the test is expected to need if the effect is as estimated.

        None where that cannot be said: the test is over, there is no effect yet, or its size has no known bounds.
        """
        arm = next((one for one in self.arms if one.deployment == self.challenger), None)
        if self.state != "running" or arm is None or not arm.effect or arm.deployment == self.champion:
            return None
        common: dict[str, Any] = {"alpha": self.alpha, "n_challengers": len(self.arms) - 1, "n_simulations": 100}
        scale = KINDS[self.metric].high - KINDS[self.metric].low
        try:
            if self.method in ("interleave", "balanced"):
                effect = max(-_LARGEST_EFFECT, min(arm.effect, _LARGEST_EFFECT))
                size = power.n_queries("interleave", effect, ties=min(self.ties / arm.n, 0.99), **common)
            else:
                method: power.Method = "split" if self.method == "split" else "shadow"
                deviation = (arm.deviation or 0.0) / scale
                size = power.n_queries(method, arm.effect / scale, deviation=deviation, **common)
        except InvalidArgument:
            return None
        return max(size.expected - self.n_queries, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the path of the p-values, as values that JSON can hold."""
        return {name: value for name, value in asdict(self).items() if name not in LEFT_OUT}

    def plot(self) -> Figure:
        """Return a plot of the evidence over the queries, with the height at which the test decides.

        Raises: MissingDependency: Matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingDependency("a plot needs Matplotlib: pip install 'roost[demo]'") from error
        figure = Figure(figsize=(7.0, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(range(1, len(self.p_values) + 1), [1.0 / max(p, 1e-300) for p in self.p_values])
        axes.axhline(1.0 / self.alpha, linestyle="--", color="0.5")
        axes.set(yscale="log", xlabel="queries with feedback", ylabel="evidence, 1 / p")
        axes.set_title(f"{self.challenger} against {self.champion}: {self.decision}")
        return figure

    def _repr_html_(self) -> str:
        title = f"Live test {self.test_id}, {self.method}, {self.metric}: {self.state}, {self.decision}"
        if self.n_ignored:
            title += f" ({self.n_ignored} pieces of feedback are of another kind and ignored)"
        columns = ("deployment", "n", "mean", "effect", "interval", "p_value", "standing", "n_errors", "latency_ms")
        rows = [{name: getattr(arm, name) for name in columns} for arm in self.arms]
        return table(rows, columns, title)
