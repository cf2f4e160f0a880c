import pyarrow as pa
import pytest

from roost.engine.filter.condition import JsonKey, ValueSet
from roost.engine.filter.json_column import FLOAT, INT, LIST, MISSING, NULL, OBJECT, TEXT, JsonColumn, json_column
from roost.errors import Corruption
from tests.engine.filter.rows import BIG, Rows


class Texts:
    """Columns with one JSON field whose text the test writes itself."""

    def __init__(self, texts: list[str | None]) -> None:
        self.n_rows = len(texts)
        self.memo: dict[object, object] = {}
        self.reads = 0
        self._array = pa.array(texts, pa.large_string())

    def scalar(self, name: str) -> pa.Array:
        assert name == "j"
        self.reads += 1
        return self._array


def read(texts: list[str | None], *path: str) -> JsonColumn:
    key = JsonKey("j", path)
    return json_column(Texts(texts), key, [key])  # type: ignore[arg-type]


def test_values_are_split_by_kind() -> None:
    column = read(['{"a":1}', '{"a":2.5}', '{"a":"x"}', '{"a":null}', '{"a":[1]}', '{"a":{}}', "{}", None], "a")
    assert column.kinds.tolist() == [INT, FLOAT, TEXT, NULL, LIST, OBJECT, MISSING, MISSING]


def test_an_integer_beyond_int64_is_a_float() -> None:
    column = read(['{"a":18446744073709551615}', '{"a":9223372036854775807}', '{"a":99999999999999999999}'], "a")
    assert column.kinds.tolist() == [FLOAT, INT, FLOAT]
    assert column.compare(">", 2**63 - 1).tolist() == [True, False, True]


def test_digits_name_an_element_or_a_key() -> None:
    assert read(['{"a":[5,6]}', '{"a":{"1":6}}', '{"a":[5]}', '{"a":6}'], "a", "1").compare("==", 6).tolist() == [
        True,
        True,
        False,
        False,
    ]


def test_keys_of_one_field_are_read_in_one_pass() -> None:
    columns = Texts(['{"a":1,"b":2}'])
    first, second = JsonKey("j", ("a",)), JsonKey("j", ("b",))
    json_column(columns, first, [first, second])  # type: ignore[arg-type]
    json_column(columns, second, [second])  # type: ignore[arg-type]
    assert columns.reads == 1


def test_many_rows_keep_their_order() -> None:
    column = read([f'{{"a":{row}}}' if row % 3 else None for row in range(20_000)], "a")
    assert column.integers.tolist() == [row if row % 3 else 0 for row in range(20_000)]
    assert read([], "a").compare("==", 1).tolist() == []


@pytest.mark.parametrize("text", ["{", "", "1,2", "nonsense"])
def test_a_row_that_is_not_json_is_corruption(text: str) -> None:
    with pytest.raises(Corruption, match="field 'j'"):
        read(["{}", text], "a")


def test_lists_compare_by_element() -> None:
    column = read(["[1,2]", "[1.0,2]", "[2,1]", "[1]", "[]", "[[1],2]", '["1",2]', "1"])
    assert column.compare("==", (1, 2)).tolist() == [True, True, False, False, False, False, False, False]
    assert column.compare("==", ()).tolist() == [False] * 4 + [True] + [False] * 3
    assert column.compare("==", ((1,), 2)).tolist() == [False] * 5 + [True, False, False]


def test_arrays_contain() -> None:
    column = read(['[1,"x",[1,2]]', "[1.0]", "[true]", "[]", '"x"', "{}"])

    def kept(values: tuple[object, ...], every: bool) -> list[bool]:
        return column.contains(ValueSet(values), every).tolist()  # type: ignore[arg-type, no-any-return]

    assert kept((1,), False) == [True, True, False, False, False, False]
    assert kept((1, "x"), True) == [True, False, False, False, False, False]
    assert kept((1, True), False) == [True, True, True, False, False, False]
    assert kept(((1, 2),), False) == [True, False, False, False, False, False]
    assert kept((), False) == [False] * 6
    assert kept((), True) == [True, True, True, True, False, False]


def test_lengths() -> None:
    lengths = read(["[1,2]", "[]", '"xx"']).lengths
    assert lengths.compare("==", 2).tolist() == [True, False, False]
    assert lengths.compare("<", 2).tolist() == [False, True, False]


def test_computed_values_keep_their_kind() -> None:
    column = read(["7", "-7", "7.5", "0", '"7"', str(BIG + 1)])
    assert column.computed("/", 2, False).compare("==", 3).tolist() == [True] + [False] * 5
    assert column.computed("/", 2, False).compare("==", 3.75).tolist() == [False, False, True, False, False, False]
    assert column.computed("%", 2, False).compare("==", -1).tolist() == [False, True, False, False, False, False]
    assert column.computed("%", 2, False).compare("==", 1).tolist() == [True] + [False] * 4 + [True]
    assert column.computed("/", 7, True).compare("==", 1).tolist() == [True] + [False] * 5
    assert column.computed("-", 7.0, True).compare("==", 0).tolist() == [True] + [False] * 5
    assert column.computed("**", 2, False).compare("==", 49).tolist() == [True, True] + [False] * 4


def test_memo_belongs_to_the_run_of_rows() -> None:
    key = JsonKey("$meta", ("n",))
    one, other = Rows([{"pk": 1, "n": 1}]), Rows([{"pk": 1, "n": 2}])
    assert json_column(one, key, [key]).integers.tolist() == [1]
    assert json_column(other, key, [key]).integers.tolist() == [2]
    assert json_column(one, key, [key]) is json_column(one, key, [])
