"""How a filtered search is run: pure decisions from counts, without touching data.

A graph search finds a row with a probability that falls with the row's rank among *all* rows of the
segment, filtered out or not, over the width of the search (`ef`). The k-th allowed row of a filter
that keeps the fraction s and knows nothing of the query has rank k / s: so the graph has to be
searched as widely as for about k / s neighbours, and past some point comparing the allowed rows one
by one costs less. docs/decisions/0003-filtered-search.md has the measurements behind the constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

LARGEST_EXPONENT = 700.0


class Method(Enum):
    """The ways to run a filtered search."""

    SCAN = "scan"
    """Compare the allowed rows one by one, by a sketch first where that costs less (`plan_scan`)."""
    TRAVERSE = "traverse"
    """Search the graph at the width of the plan; queries whose answer cannot be trusted are planned again."""
    BITMAP = "bitmap"
    """Hand the bitmap to an index whose width the engine cannot set."""
    EXACT = "exact"
    """A scan of the vectors."""
    SKETCH = "sketch"
    """A scan of the sketch, and then of the vectors that it puts first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to search a segment under a filter.

    Attributes:
        method: what is done.
        width: how many candidates the graph search keeps; 0 unless the method is TRAVERSE.
    """

    method: Method
    width: int = 0


SCAN = Plan(Method.SCAN)
BITMAP = Plan(Method.BITMAP)


class Task(NamedTuple):
    """What the plan depends on.

    Attributes:
        n_rows: rows of the segment.
        n_allowed: rows that the filter keeps.
        dim: dimension of the vectors.
        k: neighbours of a query.
        width: candidates that the unfiltered search keeps (`ef`); 0 for an index without such a number.
        comparisons: about how many rows a search of a given width compares (`VectorIndex.comparisons`).
        n_queries: queries of the call.
        n_threads: threads that one call may use.
        is_rough: whether the index orders rows by compressed vectors. Far from the query, where rows lie close to each
            other for their distance, it cannot tell the nearest from the next.
        n_sketched: numbers that the sketch of the segment keeps of a row; 0 where there is none.
        has_excerpt: whether a scan of the sketch reads the allowed rows alone.
        is_new: whether no search under the filter came before, so that its rows are in no cache.
        skips_blocks: whether a scan of the sketch passes over blocks of rows of which none is allowed, and tests none.
        sketch_extra: what recent scans of the sketch under the filter took after their first look, as a share of that.
    """

    n_rows: int
    n_allowed: int
    dim: int
    k: int
    width: int
    comparisons: Callable[[int], int]
    n_queries: int = 1
    n_threads: int = 1
    is_rough: bool = False
    n_sketched: int = 0
    has_excerpt: bool = False
    is_new: bool = False
    skips_blocks: bool = False
    sketch_extra: float = 0.0


# Width for a k-th allowed row of rank R is at least this times R ...
WIDTH_PER_RANK = 0.84
# ... and at least the width asked for times (R / k) to this power, for data whose recall is still rising.
WIDTH_GROWTH = 0.42
# An answer is trusted while twice the mean rank of its rows, estimated from a sample, is up to this times the width.
TRUSTED_RANK_PER_WIDTH = 1.9
# The same for an index that orders rows by compressed vectors.
ROUGH_RANK_PER_WIDTH = 1.5
# Where the filter has turned out to depend on the query the graph may be sparse too: width over rank then.
RETRY_WIDTH_PER_RANK = 2.0
# A query that met no allowed row at all is searched again this much more widely.
ESCALATION = 4
# Searching again pays while it costs at most this fraction of the exact scan that may follow it.
RETRY_BUDGET = 0.7
# An index without a width is given the bitmap when the filter keeps at least this fraction of the rows.
BITMAP_FROM_FRACTION = 0.05

# Nanoseconds of one thread: fixed part and part per dimension; and what a call costs in any case.
EXACT_ROW_NS = (12.0, 0.35)
EXACT_CALL_NS = 20_000.0
GRAPH_ROW_NS = (25.0, 0.28)
# What it takes to tell the allowed rows that a search of a graph met from the others, and to judge them.
SIEVED_QUERY_NS = 50_000.0
# Numbers of rows that stay in the processor's cache while a filter comes again and again, which halves their time.
CACHED_NUMBERS = 2 << 20
# The same for a row that is copied once for a batch of queries, and for each query that then reads it.
GATHERED_ROW_NS = (10.0, 0.5)
BATCHED_ROW_NS = (2.0, 0.06)
BATCH_FROM_QUERIES = 4
# A number of a row of a sketch, a row that is compared for its place in the order; what a call costs in any case.
SKETCHED_NUMBER_NS = 0.03
COMPARED_ROW_NS = (100.0, 0.45)
SKETCH_CALL_NS = 30_000.0
# A row of a sketch that is tested against a filter; rows that are passed over together; an excerpt, and a row of it.
TESTED_ROW_NS = 1.2
BLOCK_ROWS = 32
EXCERPT_NS = 30_000.0
EXCERPTED_ROW_NS = 40.0

# Rows of a sketch's order that are compared first, at least and for each neighbour; and how many are listed for each.
FIRST_COMPARED = (40, 6)
LISTED_PER_COMPARED = 4
# The order of a sketch is trusted while the nearest rows, when these are several, stand on average within this share of
# what was compared ...
EARLY_SHARE = 0.08
EARLY_FROM = 5
# ... or while at most this share of the neighbours is expected behind the compared rows; half of it for twice as many
# rows as are compared first, and so on: each look is another chance to be wrong.
MISSED_SHARE = 0.01
# Rows at fewer distances by the sketch say nothing of those behind them: most are equal to others.
DISTINCT_FROM = 24
# Looks after the first that are taken whatever they show.
LOOKS_AFTER_FIRST = 3
# About how much more a sketch's distance grows over each further doubling of the compared rows than over the last.
GROWTH_PER_LOOK = 1.2


def about(n_rows: int) -> int:
    """Return a number of rows as a plan takes it: its first five binary digits, at most a sixteenth too few."""
    passed_over = max(0, n_rows.bit_length() - 5)
    return n_rows >> passed_over << passed_over


def plan_search(task: Task, doubt: float = 0.0) -> Plan:
    """Return the cheapest plan that holds the recall of the unfiltered search.

    Args:
        task: the counts.
        doubt: the fraction of recent queries under this filter whose traversal ended in a scan.
    """
    if task.n_allowed <= task.k:
        return SCAN
    if task.width == 0:
        exhaustive = task.comparisons(0) >= task.n_rows
        return SCAN if exhaustive or task.n_allowed < BITMAP_FROM_FRACTION * task.n_rows else BITMAP
    widened = rank_width(task, task.k * task.n_rows / task.n_allowed)
    if graph_cost_ns(task, widened) >= (1 - doubt) * scan_cost_ns(task):
        return SCAN
    return Plan(Method.TRAVERSE, widened)


def plan_again(task: Task, searched: int, rank: float) -> Plan:
    """Return the plan for a query whose answer at the width `searched` cannot be trusted.

    Args:
        task: the counts.
        searched: the width of the search before.
        rank: twice the estimated mean rank of the allowed rows among all rows; inf where no allowed row was met.
    """
    if task.is_rough:
        return SCAN
    if math.isinf(rank):
        widened = ESCALATION * searched
    else:
        widened = max(2 * searched, rank_width(task, RETRY_WIDTH_PER_RANK * rank))
    if graph_cost_ns(task, widened) > RETRY_BUDGET * scan_cost_ns(task):
        return SCAN
    return Plan(Method.TRAVERSE, widened)


def plan_scan(task: Task) -> Method:
    """Return how to scan the allowed rows: SKETCH where that costs less, else EXACT."""
    if not task.n_sketched or task.n_allowed <= task.k:
        return Method.EXACT
    return Method.SKETCH if _all_looks_ns(task) < exact_cost_ns(task, is_new=task.is_new) else Method.EXACT


def most_extra(task: Task) -> float:
    """Return from which `sketch_extra` on all allowed rows are compared; 0 where they are in any case."""
    if not task.n_sketched or task.n_allowed <= task.k:
        return 0.0
    return max(0.0, exact_cost_ns(task, is_new=task.is_new) / sketch_cost_ns(task, first_look(task)) - 1)


def extra_time(task: Task, looks: Sequence[tuple[int, int]], n_scanned: int) -> float:
    """Return what queries took after their first look, all together, in first looks of one query.

    Args:
        looks: after the first: for how many queries, and how many rows were compared with each.
        n_scanned: queries with which all rows were compared in the end.
    """
    if not looks and not n_scanned:
        return 0.0
    scanned = n_scanned * exact_cost_ns(task, is_new=task.is_new) if n_scanned else 0.0
    further = sum(n_queries * sketch_cost_ns(task, n_compared) for n_queries, n_compared in looks)
    return (further + scanned) / sketch_cost_ns(task, first_look(task))


def first_look(task: Task, n_known: int = 0) -> int:
    """Return how many rows of a sketch's order to compare first.

    Args:
        n_known: rows that were searched before for the same neighbours.
    """
    at_least, for_each = FIRST_COMPARED
    return min(at_least + for_each * expected_here(task, n_known), task.n_allowed)


def expected_here(task: Task, n_known: int) -> int:
    """Return how many of the k nearest of all are expected among a task's rows, which are shared out by numbers."""
    return math.ceil(task.k * task.n_rows / (task.n_rows + n_known))


def most_compared(task: Task) -> int:
    """Return how many rows of a sketch's order a query compares at most, before all allowed rows cost less."""
    one = task if task.n_queries == 1 else task._replace(n_queries=1)
    room_ns = RETRY_BUDGET * exact_cost_ns(one) - sketch_cost_ns(one, 0)
    return int(room_ns // _per_row(COMPARED_ROW_NS, task.dim))


def next_look(task: Task, n_compared: int, n_most: int) -> int | None:
    """Return how many rows to compare for a query for which fewer were not enough; None to compare all allowed rows.

    Args:
        n_most: as `most_compared` gives it.
    """
    further = min(2 * n_compared, task.n_allowed)
    return None if further > n_most else further


def further_look(
    task: Task, n_first: int, n_compared: int, n_most: int, gap: float, spread: float, growth: float
) -> int | None:
    """Return how many rows to compare next for a query whose nearest rows are not known; None to compare all allowed.

    Twice as many are often enough, since they show what belongs to the answer. What four looks have shown of that will
    do to tell that no further one is likely to.

    Args:
        n_first: as `first_look` gives it.
        n_most: as `most_compared` gives it.
        gap, spread, growth: as in `is_complete`, which `n_compared` rows are not.
    """
    if (
        n_compared >= n_first << LOOKS_AFTER_FIRST
        and likely_look(task, n_compared, n_most, gap, spread, growth) is None
    ):
        return None
    return next_look(task, n_compared, n_most)


def likely_look(task: Task, n_compared: int, n_most: int, gap: float, spread: float, growth: float) -> int | None:
    """Return how many rows to compare so that these are likely to be complete; None to compare all allowed rows.

    Args:
        n_most: as `most_compared` gives it.
        gap, spread, growth: as in `is_complete`, which `n_compared` rows are not.
    """
    further = next_look(task, n_compared, n_most)
    while further is not None and further < task.n_allowed:
        growth *= GROWTH_PER_LOOK
        gap += growth
        if is_complete(task, further, gap, spread, growth):
            break
        further = next_look(task, further, n_most)
    return further


def is_judged(task: Task, n_compared: int, n_distinct: int) -> bool:
    """Say whether the rows of a sketch's order that were compared tell anything of those behind them.

    Args:
        n_distinct: at how many different distances they seem to be.
    """
    return n_distinct >= DISTINCT_FROM or n_compared >= task.n_allowed


def stands_early(task: Task, sum_of_places: float, n_compared: int, n_distinct: int) -> bool:
    """Say whether the nearest rows stand so early in a sketch's order that few can stand behind the compared rows.

    Args:
        sum_of_places: of the k nearest in the order, from 0.
        n_distinct: at how many different distances these are.
    """
    return n_distinct >= EARLY_FROM and sum_of_places / task.k - (task.k - 1) / 2 <= EARLY_SHARE * n_compared


def is_complete(task: Task, n_compared: int, gap: float, spread: float, growth: float) -> bool:
    """Say whether the rows of a sketch's order that were compared hold the nearest, but for `MISSED_SHARE`.

    The sketch's distances of the rows behind are taken to be off as those of the compared ones are, by a normal error;
    and the number of rows at a distance to double over `growth`, as it did before. So the number of rows behind that
    are near enough is, in units of `spread`, the integral over u > 0 of the density of the rows times the normal tail
    beyond `gap` + u, by parts as below, and at most their number times the tail beyond `gap`. Rows of another kind,
    which are off by far more than those that were compared, it cannot see.

    Args:
        n_compared: how many rows were compared.
        gap: how far off the distance of the last compared row would have to be for such a row to belong to the answer.
        spread: standard deviation of how far off the distances were, by those that were nearer than they seemed.
        growth: how much the distance grew over the second half of the compared rows, its last step left out.
    """
    n_behind = task.n_allowed - n_compared
    if n_behind <= 0 or spread <= 0:
        return n_behind <= 0 or gap >= 0
    z = gap / spread
    n_missed = n_behind * _tail(z)
    if growth > 0:
        rate = math.log(2) * spread / growth
        exponent = rate * (rate / 2 - z)
        if exponent < LARGEST_EXPONENT:
            n_missed = min(n_missed, n_compared * (math.exp(exponent) * _tail(z - rate) - _tail(z)))
    return n_missed <= MISSED_SHARE * task.k * min(1.0, first_look(task) / n_compared)


def _tail(z: float) -> float:
    """Return how much of a normal distribution lies beyond so many standard deviations."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def is_trusted(task: Task, rank: float, width: int) -> bool:
    """Say whether the rows up to `rank` are found by a search of that width."""
    return rank <= (ROUGH_RANK_PER_WIDTH if task.is_rough else TRUSTED_RANK_PER_WIDTH) * width


def rank_width(task: Task, rank: float) -> int:
    """Return how widely to search so that rows up to `rank` are found as surely as the k nearest without a filter."""
    growth: float = max(1.0, rank / task.k) ** WIDTH_GROWTH
    return max(round(task.width * growth), round(WIDTH_PER_RANK * rank))


def scan_cost_ns(task: Task, *, has_excerpt: bool | None = None, is_new: bool = False) -> float:
    """Return about how long the cheaper scan of the allowed rows takes, for all queries together.

    Args:
        has_excerpt: whether there is an excerpt; None for the task's own word.
        is_new: as in `exact_cost_ns`.
    """
    exact = exact_cost_ns(task, is_new=is_new)
    return min(exact, _all_looks_ns(task, has_excerpt=has_excerpt)) if task.n_sketched else exact


def _all_looks_ns(task: Task, *, has_excerpt: bool | None = None) -> float:
    """Return about how long a scan of the sketch takes, with what follows the first look."""
    return (1 + task.sketch_extra) * sketch_cost_ns(task, first_look(task), has_excerpt=has_excerpt)


def sketch_cost_ns(task: Task, n_compared: int, *, has_excerpt: bool | None = None) -> float:
    """Return about how long it takes to compare the first rows of a sketch's order, for all queries together.

    Args:
        has_excerpt: as in `scan_cost_ns`.
    """
    if task.has_excerpt if has_excerpt is None else has_excerpt:
        one = task.n_allowed * task.n_sketched * SKETCHED_NUMBER_NS
    elif task.skips_blocks:
        is_passed_over = (1 - task.n_allowed / task.n_rows) ** BLOCK_ROWS
        one = (1 - is_passed_over) * task.n_rows * task.n_sketched * SKETCHED_NUMBER_NS
    else:
        tested_ns = TESTED_ROW_NS if task.n_allowed < task.n_rows else 0.0
        one = task.n_rows * (task.n_sketched * SKETCHED_NUMBER_NS + tested_ns)
    one += n_compared * _per_row(COMPARED_ROW_NS, task.dim)
    return SKETCH_CALL_NS + task.n_queries * one / min(task.n_queries, task.n_threads)


def excerpt_saving_ns(task: Task, plan: Plan, doubt: float = 0.0) -> float:
    """Return about how much quicker than by `plan` the queries were answered if there was an excerpt; 0 at least.

    Args:
        doubt: the fraction of recent queries under this filter whose traversal ended in a scan.
    """
    if task.has_excerpt or not task.n_sketched or task.n_allowed <= task.k:
        return 0.0
    scan, excerpted = (scan_cost_ns(task, has_excerpt=held, is_new=task.is_new) for held in (False, True))
    if plan.method is Method.SCAN:
        return scan - excerpted
    graph = graph_cost_ns(task, plan.width)
    return max(0.0, graph + doubt * scan - min(excerpted, graph + doubt * excerpted))


def excerpt_cost_ns(n_allowed: int) -> float:
    """Return about how long it takes to make an excerpt of so many rows."""
    return EXCERPT_NS + n_allowed * EXCERPTED_ROW_NS


def exact_cost_ns(task: Task, *, is_new: bool = False) -> float:
    """Return about how long it takes to compare the allowed rows, for all queries together.

    Args:
        is_new: whether the filter is, so that none of its rows is in the cache.
    """
    if task.n_queries < BATCH_FROM_QUERIES:
        n_numbers = task.n_allowed * task.dim
        cached = 0 if is_new else min(n_numbers, CACHED_NUMBERS)
        read = (n_numbers - cached / 2) * EXACT_ROW_NS[1]
        return EXACT_CALL_NS + task.n_queries * (task.n_allowed * EXACT_ROW_NS[0] + read)
    gathering = task.n_allowed * _per_row(GATHERED_ROW_NS, task.dim)
    return gathering + task.n_queries * task.n_allowed * _per_row(BATCHED_ROW_NS, task.dim) / task.n_threads


def graph_cost_ns(task: Task, width: int) -> float:
    """Return about how long a graph search of that width takes under a filter, for all queries together."""
    one = SIEVED_QUERY_NS + task.comparisons(width) * _per_row(GRAPH_ROW_NS, task.dim)
    return task.n_queries * one / min(task.n_queries, task.n_threads)


def _per_row(cost: tuple[float, float], dim: int) -> float:
    return cost[0] + cost[1] * dim
