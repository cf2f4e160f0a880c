"""What a search decided on its way, for whoever asks to have it explained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from roost.engine.plan import Plan, Task, exact_cost_ns, graph_cost_ns, sketch_cost_ns


@dataclass(frozen=True, slots=True)
class Step:
    """One way in which rows of a part were searched.

    Attributes:
        method: "exact", "sketch", "traverse" or "bitmap", as in `Method`; "excerpt": a sketch of the filter's own rows;
            "index": the index without a filter; "refine": the rows found are compared again with the full vectors.
        width: candidates that the search kept; 0 where it has no such number.
        n_queries: queries that it was for.
        n_kept: queries whose answer was trusted; the others have a step of their own after it.
        comparisons: about how many rows were compared with each; of a sketch, those whose vectors were.
        cost_ms: what the planner thought that it takes, for all queries; None where nothing was weighed.
        reason: why it was done.
    """

    method: str
    width: int
    n_queries: int
    n_kept: int
    comparisons: int
    cost_ms: float | None
    reason: str


@dataclass
class Trace:
    """The steps of the search of one part. A search that is given none notes nothing."""

    steps: list[Step] = field(default_factory=list)
    time_ms: float = 0.0

    def note(self, method: str, n_queries: int, comparisons: int, reason: str, width: int = 0) -> None:
        """Add a step that needed no plan."""
        self.steps.append(Step(method, width, n_queries, n_queries, comparisons, None, reason))

    def note_plan(self, plan: Plan, task: Task, reason: str) -> None:
        """Add the search of an index that was planned for the queries of a task."""
        cost_ns = graph_cost_ns(task, plan.width)
        self._add(plan.method.value, plan.width, task.n_queries, task.comparisons(plan.width), cost_ns, reason)

    def note_scan(self, task: Task, n_queries: int, n_compared: int | None, reason: str) -> None:
        """Add a scan of the allowed rows for so many queries: by a sketch, or of all where `n_compared` is None."""
        task = task._replace(n_queries=n_queries)
        if n_compared is None:
            self._add("exact", 0, n_queries, task.n_allowed, exact_cost_ns(task), reason)
        else:
            method = "excerpt" if task.has_excerpt else "sketch"
            self._add(method, 0, n_queries, n_compared, sketch_cost_ns(task, n_compared), reason)

    def note_kept(self, n_kept: int) -> None:
        """Say of how many queries the answer of the last step was trusted."""
        self.steps[-1] = replace(self.steps[-1], n_kept=n_kept)

    def _add(self, method: str, width: int, n_queries: int, comparisons: int, cost_ns: float, reason: str) -> None:
        self.steps.append(Step(method, width, n_queries, n_queries, comparisons, cost_ns / 1e6, reason))
