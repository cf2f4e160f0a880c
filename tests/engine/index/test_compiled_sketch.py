from __future__ import annotations

import math
import platform
import shutil
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from roost.engine.columns import Bitmap, FloatArray, IntArray, Mask
from roost.engine.index import compiled_sketch
from roost.engine.index.compiled_sketch import LIBRARY, MAX_LISTED, CompiledSketch, Judge
from roost.engine.index.exact import inverse_norms, normalised
from roost.engine.index.sketch import Sketch
from roost.engine.index.sketch_frame import compared

compiled = pytest.mark.skipif(LIBRARY is None, reason="needs a C compiler when Roost is installed, and AVX2")
METRICS = ("L2", "IP", "COSINE")


@pytest.fixture(autouse=True, params=[False, True], ids=["narrow", "wide"])
def is_wide(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether rows are packed for registers of 512 bits."""
    if request.param and not compiled_sketch.IS_WIDE:
        pytest.skip("needs a processor with AVX-512 VBMI and VNNI")
    monkeypatch.setattr(compiled_sketch, "IS_WIDE", request.param)
    return bool(request.param)


def rows_of(n_rows: int, dim: int, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    spread = 3 / np.sqrt(np.arange(1, dim + 1))
    return (rng.normal(size=(n_rows, dim)) * spread + 0.3).astype(np.float32)


class Look(NamedTuple):
    """The rows that seem nearest, at what distance they seem to be, and the distances of the first of them."""

    rows: IntArray
    seeming: FloatArray
    found: FloatArray


def first_of(
    held: CompiledSketch,
    asked: FloatArray,
    vectors: FloatArray,
    norms: FloatArray | None,
    bits: Bitmap | None,
    n: int,
    n_rows: int,
) -> Look | None:
    """Return what a scan lists, of which it compares half."""
    if held.scan(asked, vectors, norms, bits, Judge(1, n_rows, n // 2, n, 0), math.inf) is None:
        return None
    _, rows, seeming, found, _ = compiled_sketch._room._held
    return Look(rows[0, :n].copy(), seeming[0, :n].copy(), found[0, : n // 2].copy())


def look(sketch: Sketch, vectors: FloatArray, query: FloatArray, n: int, allowed: Mask | None = None) -> Look:
    assert sketch.compiled is not None
    asked = compared(query[None], sketch.metric)
    norms = inverse_norms(vectors) if sketch.metric == "COSINE" else None
    bits = None if allowed is None else np.packbits(allowed, bitorder="little")
    n_rows = len(vectors) if allowed is None else int(allowed.sum())
    found = first_of(sketch.compiled, asked, vectors, norms, bits, n, n_rows)
    assert found is not None
    return found


def true_distances(vectors: FloatArray, query: FloatArray, metric: str) -> FloatArray:
    wide, asked = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        return ((wide - asked) ** 2).sum(axis=1)
    products = wide @ asked
    return -products if metric == "IP" else -products / np.linalg.norm(wide, axis=1) / np.linalg.norm(asked)


def sketched_distances(sketch: Sketch, query: FloatArray) -> FloatArray:
    """Distances of all rows by the sketch, of the levels that their codes stand for."""
    numbers, _ = sketch.turned(query[None])
    codes = np.stack([sketch._codes & 15, sketch._codes >> 4], axis=2).reshape(len(sketch._codes), -1)
    levels = sketch._levels[np.arange(sketch.n_numbers), codes[:, : sketch.n_numbers]]
    if sketch.metric == "IP":
        return -(levels * numbers).sum(axis=1)
    return ((levels - numbers) ** 2).sum(axis=1) * (0.5 if sketch.metric == "COSINE" else 1)


def rounding_of(sketch: Sketch, query: FloatArray) -> float:
    """Each number is rounded to a 255th of the widest range that any has."""
    numbers, _ = sketch.turned(query[None])
    levels, asked = sketch._levels, numbers[0][:, None]
    values = -asked * levels if sketch.metric == "IP" else (asked - levels) ** 2
    widest = float(np.ptp(values, axis=1).max()) * (0.5 if sketch.metric == "COSINE" else 1)
    return 0.5 * sketch.n_numbers * widest / 255 + 1e-5 * float(np.abs(values).sum())


def test_the_library_is_compiled_where_it_can_be() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("cc") is None:
        pytest.skip("needs a C compiler, and Linux on x86-64")
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs AVX2")
    assert LIBRARY is not None


@compiled
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n_rows", "dim"), [(31, 24), (32, 27), (2_000, 63), (2_000, 64), (2_017, 65), (3_001, 203)])
def test_a_look_lists_the_rows_that_seem_nearest_and_compares_the_first(metric: str, n_rows: int, dim: int) -> None:
    vectors = rows_of(n_rows, dim, 1)
    sketch, n = Sketch.build(vectors, metric), min(n_rows, 80)
    for query in rows_of(12, dim, 2):
        seen = look(sketch, vectors, query, n)
        sketched, true = sketched_distances(sketch, query), true_distances(vectors, query, metric)
        rounding = rounding_of(sketch, query)
        assert len(set(seen.rows.tolist())) == n
        assert np.all(np.diff(seen.seeming) >= 0)
        assert np.abs(seen.seeming - sketched[seen.rows]).max() <= rounding
        assert seen.seeming[-1] <= np.sort(sketched)[n - 1] + rounding
        np.testing.assert_allclose(seen.found, true[seen.rows[: n // 2]], rtol=1e-5, atol=1e-5)


@compiled
@pytest.mark.parametrize("metric", METRICS)
def test_a_look_lists_as_the_step_by_step_way_does(metric: str) -> None:
    vectors = rows_of(20_000, 160, 3)
    sketch, shared = Sketch.build(vectors, metric), []
    for query in rows_of(40, 160, 4):
        numbers, is_strange = sketch.turned(query[None])
        if is_strange.all() and not sketch.has_rests:
            continue
        rows, seeming = sketch.first(numbers, 200, None)
        seen = look(sketch, vectors, query, 200)
        shared.append(len(set(rows[0].tolist()) & set(seen.rows.tolist())) / 200)
        assert np.abs(seen.seeming - seeming[0]).max() <= 0.03 * np.ptp(sketched_distances(sketch, query))
    assert len(shared) > 30 and np.mean(shared) >= 0.95


@compiled
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_only_allowed_rows_are_listed(share: float) -> None:
    vectors = rows_of(6_003, 100, 5)
    sketch = Sketch.build(vectors, "L2")
    allowed = np.random.default_rng(6).random(len(vectors)) < share
    n = min(int(allowed.sum()), 150)
    for query in rows_of(10, 100, 7):
        seen = look(sketch, vectors, query, n, allowed)
        assert allowed[seen.rows].all()
        sketched = np.where(allowed, sketched_distances(sketch, query), np.inf)
        expected = set(np.argsort(sketched, kind="stable")[:n].tolist())
        assert len(expected & set(seen.rows.tolist())) >= 0.9 * n


@compiled
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_kept", [20, 31, 32, 33, 3_000])
def test_an_excerpt_lists_what_the_whole_lists_of_its_rows(metric: str, n_kept: int) -> None:
    vectors = rows_of(6_003, 100, 5)
    sketch, norms = Sketch.build(vectors, metric), inverse_norms(vectors) if metric == "COSINE" else None
    rows = np.sort(np.random.default_rng(6).choice(len(vectors), n_kept, replace=False))
    allowed = np.zeros(len(vectors), bool)
    allowed[rows] = True
    assert sketch.compiled is not None
    excerpt, n = sketch.compiled.excerpt(sketch._codes[rows], rows), min(n_kept, 150)
    for query in rows_of(10, 100, 7):
        of_whole = look(sketch, vectors, query, n, allowed)
        seen = first_of(excerpt, compared(query[None], metric), vectors, norms, None, n, n_kept)
        assert seen is not None
        for array, same in zip(seen, of_whole, strict=True):
            np.testing.assert_array_equal(array, same)


@compiled
@pytest.mark.parametrize("is_falling", [True, False])
def test_rows_may_come_in_any_order(is_falling: bool) -> None:
    """Nearer and nearer, every row is listed for a time."""
    vectors, query = rows_of(60_000, 64, 8), rows_of(1, 64, 9)[0]
    order = np.argsort(true_distances(vectors, query, "L2"))
    vectors = np.ascontiguousarray(vectors[order[::-1] if is_falling else order])
    sketch = Sketch.build(vectors, "L2")
    for n in (1, 2, 100, MAX_LISTED):
        seen, sketched = look(sketch, vectors, query, max(n, 2)), sketched_distances(sketch, query)
        nearest = np.sort(sketched)[: len(seen.rows)]
        assert np.abs(np.sort(sketched[seen.rows]) - nearest).max() <= 0.05 * np.ptp(sketched)


@compiled
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [24, 25, 63, 200])
@pytest.mark.parametrize("is_wide", [True], indirect=True)
def test_rows_are_listed_alike_however_they_are_packed(
    metric: str, dim: int, is_wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, rows = rows_of(5_003, dim, 15), np.arange(0, 5_003, 7)
    norms = inverse_norms(vectors) if metric == "COSINE" else None
    built, looks = Sketch.build(vectors, metric), []
    wide = built.of(vectors)
    assert wide.compiled is not None
    monkeypatch.setattr(compiled_sketch, "IS_WIDE", False)
    # What is packed one way finds the same as what is packed the other, an excerpt of it too.
    excerpts = [wide.compiled.excerpt(wide._codes[rows], rows)]
    monkeypatch.setattr(compiled_sketch, "IS_WIDE", True)
    excerpts.append(wide.compiled.excerpt(wide._codes[rows], rows))
    monkeypatch.setattr(compiled_sketch, "IS_WIDE", False)
    narrow = built.of(vectors)
    for query in rows_of(20, dim, 16):
        looks.append((look(wide, vectors, query, 500), look(narrow, vectors, query, 500)))
        asked = compared(query[None], metric)
        one, other = (first_of(excerpt, asked, vectors, norms, None, 100, len(rows)) for excerpt in excerpts)
        assert one is not None and other is not None
        looks.append((one, other))
    for one, other in looks:
        for array, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, same)


@compiled
def test_where_too_many_rows_seem_equally_far_nothing_is_said() -> None:
    vectors = rows_of(40_000, 64, 10)
    sketch = Sketch.build(vectors, "L2").of(np.repeat(vectors[:1], 40_000, axis=0))
    assert sketch.compiled is not None
    assert first_of(sketch.compiled, vectors[5:6], vectors, None, None, 100, 40_000) is None


@compiled
def test_a_query_that_the_numbers_cannot_order_is_passed_over() -> None:
    """Of an inner product, far from the axes."""
    vectors = rows_of(4_000, 200, 11)
    vectors[:, 100:] = 0
    sketch, query = Sketch.build(vectors, "IP"), np.zeros((1, 200), np.float32)
    query[0, 150] = 1
    assert sketch.compiled is not None
    assert sketch.turned(query)[1].all() and not sketch.has_rests
    assert first_of(sketch.compiled, query, vectors, None, None, 100, 4_000) is None


@compiled
def test_a_strange_query_keeps_its_whole_way_beyond_the_axes() -> None:
    vectors = rows_of(4_000, 200, 12)
    sketch, query = Sketch.build(vectors, "L2"), vectors[:1].copy()
    query[0, 150:] += 30
    assert sketch.turned(query)[1].all()
    seen = look(sketch, vectors, query[0], 100)
    sketched = sketched_distances(sketch, query[0])
    assert np.abs(seen.seeming - sketched[seen.rows]).max() <= 0.05 * np.ptp(sketched) + 1e-3 * sketched.max()


@compiled
def test_a_library_of_another_source_is_passed_over(tmp_path: Path) -> None:
    folder = Path(compiled_sketch.__file__).parent
    for name in ("_compiled_sketch.so", "compiled_sketch.c"):
        shutil.copy(folder / name, tmp_path / name)
    assert compiled_sketch._load(tmp_path / "_compiled_sketch.so") is not None
    with open(tmp_path / "compiled_sketch.c", "a") as file:
        file.write("\n/* newer */\n")
    assert compiled_sketch._load(tmp_path / "_compiled_sketch.so") is None
    (tmp_path / "compiled_sketch.c").unlink()
    assert compiled_sketch._load(tmp_path / "_compiled_sketch.so") is None
    (tmp_path / "text.so").write_text("no library")
    assert compiled_sketch._load(tmp_path / "text.so") is None
    assert compiled_sketch._load(tmp_path / "missing.so") is None


@compiled
def test_what_the_library_could_not_take_is_refused() -> None:
    vectors = rows_of(200, 64, 14)
    held, query = Sketch.build(vectors, "L2").compiled, vectors[:1]
    assert held is not None
    fits = Judge(1, 200, 10, 20, 0)
    assert held.scan(query, vectors, None, None, fits, math.inf) is not None
    for k, n_allowed, n_first, n_listed in ((1, 200, 0, 10), (1, 200, 11, 10), (1, 9, 5, 10), (9, 9, 5, 9)):
        with pytest.raises(ValueError, match="a scan needs"):
            held.scan(query, vectors, None, None, Judge(k, n_allowed, n_first, n_listed, 0), math.inf)
    with pytest.raises(ValueError, match="a scan needs"):
        held.scan(query, vectors, None, None, Judge(1, 10**6, 10, MAX_LISTED + 1, 0), math.inf)
    for asked, rows in ((query.astype(np.float64), vectors), (query[:, ::-1], vectors), (query, vectors[:, ::2])):
        with pytest.raises(ValueError, match="a scan needs"):
            held.scan(asked, rows, None, None, fits, math.inf)


@compiled
def test_a_thread_needs_little_stack() -> None:
    vectors = rows_of(2_000, 64, 15)
    sketch, seen = Sketch.build(vectors, "L2"), []
    before = threading.stack_size(128 << 10)
    try:
        thread = threading.Thread(target=lambda: seen.append(look(sketch, vectors, vectors[0], 1_000)))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert seen[0].rows[0] == 0


def test_nothing_is_compiled_where_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.engine.index.sketch.LIBRARY", None)
    assert Sketch.build(normalised(rows_of(100, 64, 13)), "L2").compiled is None
