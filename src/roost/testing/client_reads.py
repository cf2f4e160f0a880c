"""The part of the client contract that is about reading rows: get, query, search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusException
from pymilvus import exceptions as milvus
from pymilvus.client.search_result import Hit, HybridHits, SearchResult
from pymilvus.client.types import HybridExtraList

from roost.testing.client_fixtures import ROWS, VECTORS, ClientFixtures, Make


class ReadContract(ClientFixtures):
    """What get, query and search return and refuse."""

    # Query and get

    def test_query_results(self, client: Any, filled: str) -> None:
        found = client.query(filled, filter="size > 1", output_fields=["colour"])
        assert type(found) is HybridExtraList
        assert sorted(found, key=lambda r: r["id"]) == [{"id": 2, "colour": "blue"}, {"id": 3, "colour": "red"}]

    def test_everything_is_shown_by_default(self, client: Any, filled: str) -> None:
        whole = [{"id": 2, "vector": [0.0, 0.0, 3.0, 0.0], "colour": "blue", "size": 2}]
        assert list(client.query(filled, filter="id == 2")) == whole
        assert list(client.query(filled, ids=[2], output_fields=["*"])) == whole
        assert list(client.get(filled, 2)) == whole

    def test_pages(self, client: Any, filled: str) -> None:
        pages = [client.query(filled, limit=2, offset=o, output_fields=["id"]) for o in (0, 2, 4)]
        assert [[r["id"] for r in page] for page in pages] == [[0, 1], [2, 3], []]

    def test_counting(self, client: Any, filled: str) -> None:
        assert list(client.query(filled, output_fields=["count(*)"])) == [{"count(*)": 4}]
        assert list(client.query(filled, filter="colour == 'red'", output_fields=["count(*)"])) == [{"count(*)": 2}]

    def test_get_leaves_out_missing_keys(self, client: Any, filled: str) -> None:
        assert [r["id"] for r in client.get(filled, [3, 99, 1], output_fields=["id"])] == [1, 3]
        assert list(client.get(filled, [])) == []

    def test_bad_queries(self, client: Any, filled: str) -> None:
        bad: list[tuple[dict[str, Any], type[MilvusException]]] = [
            ({}, MilvusException),
            ({"ids": []}, MilvusException),
            ({"filter": "id >"}, MilvusException),
            ({"filter": 3}, milvus.DataTypeNotMatchException),
            ({"filter": "id > 0", "ids": [1]}, milvus.ParamError),
            ({"filter": "id > 0", "output_fields": "id"}, milvus.ParamError),
            ({"filter": "id > 0", "limit": 0}, MilvusException),
            ({"filter": "id > 0", "limit": 16_385}, MilvusException),
            ({"filter": "id > 0", "limit": 1, "offset": -1}, MilvusException),
            ({"output_fields": ["count(*)"], "limit": 2}, MilvusException),
            ({"filter": "id > 0", "consistency_level": "None"}, milvus.InvalidConsistencyLevel),
            ({"filter": "id > 0", "partition_names": ["none"]}, MilvusException),
        ]
        for options, kind in bad:
            with pytest.raises(kind):
                client.query(filled, **options)

    # Search

    def test_search_results(self, client: Any, filled: str) -> None:
        found = client.search(filled, [[0, 2, 0, 0]], limit=2, output_fields=["colour"])
        assert isinstance(found, SearchResult)
        assert isinstance(found[0], HybridHits)
        assert isinstance(found[0][0], Hit)
        assert found[0] == [
            {"id": 1, "distance": 0.0, "entity": {"colour": "red"}},
            {"id": 0, "distance": 5.0, "entity": {"colour": "blue"}},
        ]
        assert (found[0].ids, found[0].distances) == ([1, 0], [0.0, 5.0])
        hit = found[0][0]
        assert (hit.id, hit.distance, hit["colour"], hit.get("nothing")) == (1, 0.0, "red", None)
        assert hit.entity == hit

    @pytest.mark.parametrize(
        "queries",
        [
            [[1, 0, 0, 0], [0, 2, 0, 0]],
            VECTORS[:2],
            VECTORS[:2].astype(np.float64),
            list(VECTORS[:2]),
            [v.tobytes() for v in VECTORS[:2]],
            np.asfortranarray(VECTORS[:2]),
        ],
        ids=["lists", "float32", "float64", "arrays", "bytes", "fortran"],
    )
    def test_forms_of_queries(self, client: Any, filled: str, queries: Any) -> None:
        assert [hits.ids for hits in client.search(filled, queries, limit=1)] == [[0], [1]]

    @pytest.mark.parametrize(("metric", "expected"), [("L2", [5.0, 0.0]), ("IP", [0.0, 4.0]), ("COSINE", [0.0, 1.0])])
    def test_sign_of_distances(self, client: Any, make: Make, metric: str, expected: list[float]) -> None:
        name = make(metric_type=metric)
        client.insert(name, ROWS[:2])
        hits = client.search(name, [VECTORS[1]])[0]
        assert dict(zip(hits.ids, hits.distances, strict=True)) == {0: expected[0], 1: pytest.approx(expected[1])}
        assert hits.ids[0] == 1

    def test_search_with_filter_and_offset(self, client: Any, filled: str) -> None:
        assert client.search(filled, [[1, 0, 0, 0]], filter="colour == 'red'")[0].ids == [1, 3]
        assert client.search(filled, [[1, 0, 0, 0]], limit=2, offset=1)[0].ids == [1, 2]
        assert client.search(filled, [[1, 0, 0, 0]], limit=1, search_params={"offset": 3})[0].ids == [3]
        assert client.search(filled, [[1, 0, 0, 0]], filter="size > 10")[0].ids == []

    def test_range_search(self, client: Any, filled: str) -> None:
        # Squared distances from the origin are 1, 4, 9 and 16.
        def ids(**bounds: float) -> list[int]:
            found = client.search(filled, [[0, 0, 0, 0]], search_params={"metric_type": "L2", "params": bounds})
            return list(found[0].ids)

        assert ids(radius=9.0) == [0, 1]
        assert ids(radius=16.0, range_filter=4.0) == [1, 2]
        with pytest.raises(MilvusException):
            ids(radius=4.0, range_filter=16.0)

    def test_range_search_by_similarity(self, client: Any, make: Make) -> None:
        name = make(metric_type="IP")
        client.insert(name, ROWS)
        params = {"metric_type": "IP", "params": {"radius": 1.5, "range_filter": 3.5}}
        assert client.search(name, [[1, 1, 1, 1]], search_params=params)[0].ids == [2, 1]

    def test_search_parameters_nested_and_flat(self, client: Any, filled: str) -> None:
        for params in ({"metric_type": "L2", "params": {"ef": 32}}, {"metric_type": "L2", "ef": 32}, {"ef": 32}, {}):
            assert client.search(filled, [[4, 0, 0, 0]], search_params=params, limit=1)[0].ids == [0]

    def test_rounded_distances(self, client: Any, filled: str) -> None:
        hits = client.search(filled, [[0.11, 0, 0, 0]], limit=1, round_decimal=1)[0]
        assert hits.distances == [0.8]

    def test_an_empty_collection_has_no_hits(self, client: Any, make: Make) -> None:
        assert client.search(make(), [[1, 2, 3, 4], [5, 6, 7, 8]]) == [[], []]

    def test_bad_searches(self, client: Any, filled: str) -> None:
        one = [[1, 0, 0, 0]]
        bad: list[tuple[Any, dict[str, Any], type[MilvusException]]] = [
            ([1, 0, 0, 0], {}, milvus.ParamError),
            (np.ones(4, dtype=np.float32), {}, milvus.ParamError),
            (((1, 0, 0, 0),), {}, milvus.ParamError),
            ([(1, 0, 0, 0)], {}, milvus.ParamError),
            (np.ones((1, 4), dtype=np.int64), {}, milvus.ParamError),
            (None, {}, milvus.ParamError),
            (one, {"ids": [1]}, milvus.ParamError),
            ([], {}, MilvusException),
            ([[1, 2, 3]], {}, MilvusException),
            ([["a", "b", "c", "d"]], {}, MilvusException),
            (one, {"limit": 0}, milvus.ParamError),
            (one, {"limit": "3"}, milvus.ParamError),
            (one, {"limit": 16_385}, MilvusException),
            (one, {"limit": 16_000, "offset": 1_000}, MilvusException),
            (one, {"offset": -1}, MilvusException),
            (one, {"offset": "1"}, milvus.ParamError),
            (one, {"output_fields": "colour"}, milvus.ParamError),
            (one, {"partition_names": "_default"}, milvus.ParamError),
            (one, {"partition_names": ["none"]}, MilvusException),
            (one, {"anns_field": "none"}, MilvusException),
            (one, {"anns_field": "id"}, MilvusException),
            (one, {"filter": "size =="}, MilvusException),
            (one, {"search_params": {"metric_type": "IP"}}, MilvusException),
            (one, {"search_params": {"params": "x"}}, milvus.ParamError),
            (one, {"search_params": {"ef": 1, "params": {"ef": 2}}}, milvus.ParamError),
            (one, {"round_decimal": 9}, milvus.ParamError),
            (one, {"timeout": "x"}, milvus.ParamError),
            (one, {"consistency_level": "None"}, milvus.InvalidConsistencyLevel),
        ]
        for data, options, kind in bad:
            with pytest.raises(kind):
                client.search(filled, data, **options)

    # Dynamic fields

    def test_dynamic_keys(self, client: Any, filled: str) -> None:
        client.insert(filled, {"id": 9, "vector": [9, 9, 9, 9], "tags": ["a", "b"], "nested": {"x": 1.5}, "none": None})
        (row,) = client.get(filled, 9, output_fields=["tags", "nested", "absent"])
        assert row == {"id": 9, "tags": ["a", "b"], "nested": {"x": 1.5}}
        hit = client.search(filled, [[9, 9, 9, 9]], limit=1, output_fields=["*"])[0][0]
        assert hit["entity"] == {
            "id": 9,
            "vector": [9.0] * 4,
            "tags": ["a", "b"],
            "nested": {"x": 1.5},
            "none": None,
        }

    def test_unknown_fields_without_a_dynamic_field(self, client: Any, make: Make) -> None:
        name = make(enable_dynamic_field=False)
        with pytest.raises(milvus.DataNotMatchException):
            client.insert(name, {"id": 1, "vector": VECTORS[0], "extra": 1})
        with pytest.raises(MilvusException):
            client.query(name, filter="id == 1", output_fields=["extra"])
        with pytest.raises(MilvusException):
            client.search(name, [VECTORS[0]], output_fields=["extra"])
