"""Vectors on disk, found by short codes in memory: the role that Milvus gives to DiskANN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from roost.engine.index.faiss_ivf import MAX_NLIST, WIDTH_PER_ROW, FaissIvfRabitq, list_growth
from roost.engine.index.faiss_learned import inner
from roost.engine.index.parameters import integer, require_known
from roost.errors import InvalidArgument

DEFAULT_SEARCH_LIST, MAX_SEARCH_LIST = 16, 65_535
LISTS_PER_ROOT = 2
"""Lists for each square root of the number of rows."""

COMPARED_PER_LIST = 5
"""Rows that are read from disk for each list that is looked through."""

_WIDENED = "widened"
"""The parameter of a search that was made wider, a `_Lists`: it is for more rows than `search_list` was given for."""

_LEARNED_PER_LIST = 64
"""More rows a list would better the centroids little, and take long where there are thousands of lists."""


class _Lists(int):
    """How many lists a search that was made wider looks through: a type that no caller's parameter is of."""


class FaissDisk(FaissIvfRabitq):
    """Lists of one bit for each number in memory; the vectors that they point to are read from disk.

    Search parameter: `search_list` (at least k): how far is looked, in lists; five rows of each are read and compared.
    A graph on disk, as DiskANN's, reads a page for each step from row to row. Lists need no steps: what is to be read
    is known at once.
    """

    index_type: ClassVar[str] = "DISKANN"
    build_params: ClassVar[tuple[str, ...]] = ()
    search_params: ClassVar[tuple[str, ...]] = ("search_list",)
    on_disk: ClassVar[bool] = True

    @classmethod
    def _lists(cls, width: int, nlist: int, n_parts: int, metric: int, params: Mapping[str, Any]) -> Any:
        made = super()._lists(width, nlist, n_parts, metric, params)
        inner(made).cp.max_points_per_centroid = _LEARNED_PER_LIST
        return made

    @classmethod
    def _fitted(cls, params: Mapping[str, Any], n_rows: int) -> Mapping[str, Any]:
        return super()._fitted({**params, "nlist": max(1, round(LISTS_PER_ROOT * math.sqrt(n_rows)))}, n_rows)

    @classmethod
    def n_refined(cls, k: int, params: Mapping[str, Any]) -> int:
        return max(COMPARED_PER_LIST * _n_lists(k, params), k)

    @classmethod
    def search_width(cls, k: int, params: Mapping[str, Any]) -> int:
        is_widened = isinstance(params.get(_WIDENED), _Lists)
        require_known(params, (_WIDENED,) if is_widened else cls.search_params, cls.index_type)
        _n_lists(k, params)
        return WIDTH_PER_ROW * k

    @classmethod
    def with_width(cls, k: int, params: Mapping[str, Any], width: int) -> Mapping[str, Any]:
        # The search is for the rows that are read from disk by now, of which there are some for each list.
        n_lists = params.get(_WIDENED, params.get("search_list", max(DEFAULT_SEARCH_LIST, k / COMPARED_PER_LIST)))
        return {_WIDENED: _Lists(min(MAX_NLIST, math.ceil(n_lists * list_growth(k, width))))}

    def comparisons(self, width: int, k: int, params: Mapping[str, Any]) -> int:
        return super().comparisons(width, k, {"nprobe": _n_lists(k, params)})

    def _learned_parameters(self, k: int, params: Mapping[str, Any], selector: Any) -> Any:
        return super()._learned_parameters(k, {"nprobe": _n_lists(k, params)}, selector)


def _n_lists(k: int, params: Mapping[str, Any]) -> int:
    """Return how many lists a search for k rows looks through.

    Raises: InvalidArgument: `search_list` is out of its range, or less than k.
    """
    if isinstance(widened := params.get(_WIDENED), _Lists):
        return widened
    n_lists = integer(params, "search_list", max(k, DEFAULT_SEARCH_LIST), 1, MAX_SEARCH_LIST)
    if n_lists < k:
        raise InvalidArgument(f"search_list={n_lists} is less than k={k}; raise search_list or lower the limit")
    return n_lists
