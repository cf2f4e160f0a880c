"""What Roost is held to: its figures over those of Faiss, of the other systems, and of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.figures import Figures, over, read_json
from bench.filters import KINDS, SIDES, name_of
from bench.mixed import INTERVAL_S
from bench.ratios import Ratio
from bench.work import Plan, Work

PEER_FACTORS = {"chroma": 5.0, "lancedb": 15.0, "milvus-lite": 100.0}
"""How many times as fast as a peer Roost has to answer one query a call."""

FILTERED_FACTOR = 5.0
FILTERED_KEEP = 0.01
"""How many times as fast as the fastest peer it has to be under a random filter that keeps so much."""

WORDS = {"repeated": "the same filter", "fresh": "a new filter each query"}


def ratios_of(work: Work, folder: Path, figures: Mapping[str, Figures]) -> list[Ratio]:
    """Return Roost's figures over the limits; those of Faiss, of the raw file and of no filter were taken in turns."""
    roost, steps = figures["roost"], work.plan.steps
    found = []
    if "single" in roost.queries_per_s:
        value = over(folder, "roost", "single", "faiss", "single")
        found.append(Ratio("one query, over Faiss called directly", value, 0.90, 0.95))
        found += _over_peers(figures)
    if "filters" in steps:
        found += _filters(work.plan, figures)
    found += _inserts(folder)
    if "reopen" in steps:
        found += _opening(folder, roost)
    if roost.mixed is not None:
        p99 = roost.mixed.p99_over_quiet
        found.append(
            Ratio("p99 beside inserts of 1,000 rows a second, over the quiet p99", p99, 3.0, 1.5, at_most=True)
        )
        share = roost.mixed.rows_per_s / (work.plan.batch_rows / INTERVAL_S)
        found.append(Ratio("rows that came in beside the searches, over those that were due", share, 0.95, 1.0))
        found.append(Ratio("inserted rows that the first search finds", roost.mixed.found_at_once, 1.0, 1.0))
    return found


def _over_peers(figures: Mapping[str, Figures]) -> Iterator[Ratio]:
    for name, factor in PEER_FACTORS.items():
        if name in figures:
            value = figures["roost"].queries_per_s["single"] / figures[name].queries_per_s["single"]
            yield Ratio(f"one query, over {name}", value, factor, factor)


def _filters(plan: Plan, figures: Mapping[str, Figures]) -> Iterator[Ratio]:
    roost, peers = figures["roost"], [one for name, one in figures.items() if name not in ("roost", "faiss")]
    for side in SIDES:
        for keep in plan.keeps:
            for kind in KINDS:
                value = roost.over_unfiltered[name_of(side, keep, kind)]
                yield Ratio(f"{side} filter keeps {100 * keep:g} %, {WORDS[kind]}, over no filter", value, 0.4, 0.8)
    names = [name_of(side, keep, kind) for side in SIDES for keep in plan.keeps for kind in KINDS]
    yield Ratio("recall@10 under a filter, the lowest", min(roost.recalls[name] for name in names), 0.95, 0.98)
    for kind in KINDS if peers and FILTERED_KEEP in plan.keeps else ():
        name = name_of("random", FILTERED_KEEP, kind)
        value = roost.queries_per_s[name] / max(peer.queries_per_s[name] for peer in peers)
        what = f"random filter keeps {100 * FILTERED_KEEP:g} %, {WORDS[kind]}, over the fastest peer"
        yield Ratio(what, value, FILTERED_FACTOR, FILTERED_FACTOR)


def _inserts(folder: Path) -> Iterator[Ratio]:
    raw, measured = read_json(folder / "raw-file-faiss.json"), read_json(folder / "roost.json")
    kinds = (("insert_s", "in batches", 0.4), ("single_s", "of single rows", 0.5))
    for key, words, floor in kinds:
        if measured[key]:
            value = sum(raw[key]) / sum(measured[key])
            yield Ratio(f"durable insert {words}, over a raw file with fdatasync", value, floor, 0.8)


def _opening(folder: Path, roost: Figures) -> Iterator[Ratio]:
    if roost.first_answer_s is not None and roost.memory_growth_bytes is not None:
        yield Ratio("reopening to the first answer, seconds", roost.first_answer_s, 0.5, 0.2, at_most=True)
        memory = roost.memory_growth_bytes / (folder / "faiss" / "index.faiss").stat().st_size
        yield Ratio("resident memory over the size of Faiss's index", memory, 1.5, 1.15, at_most=True)
