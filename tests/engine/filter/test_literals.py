import pytest

from roost.engine.filter.literals import decode_string, fold, parse_float, parse_integer
from roost.engine.filter.tree import Fault, Span

SPAN = Span(0, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("7", 7),
        ("07", 7),
        ("010", 8),
        ("0x1F", 31),
        ("0XfF", 255),
        ("0b101", 5),
        ("0B1", 1),
        (str(2**63), 2**63),
    ],
)
def test_integers_in_every_base(text: str, value: int) -> None:
    assert parse_integer(text, SPAN) == value


@pytest.mark.parametrize("text", [str(2**63 + 1), "9" * 5000, "0x" + "f" * 17])
def test_an_integer_beyond_64_bits_is_a_fault(text: str) -> None:
    with pytest.raises(Fault, match="more than 64 bits"):
        parse_integer(text, SPAN)


@pytest.mark.parametrize(("text", "value"), [("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("5e-1", 0.5), ("0x1p-1", 0.5)])
def test_floats(text: str, value: float) -> None:
    assert parse_float(text, SPAN) == value


@pytest.mark.parametrize("text", ["1e999", "0x1p99999"])
def test_a_float_beyond_64_bits_is_a_fault(text: str) -> None:
    with pytest.raises(Fault, match="beyond the range"):
        parse_float(text, SPAN)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a"', "a"),
        ("'a'", "a"),
        (r'"q\"q"', 'q"q'),
        (r"'it\'s'", "it's"),
        (r'"a\nb\tc\\d"', "a\nb\tc\\d"),
        (r'"\x41\101\u00e9\U0001F600"', "AAé😀"),
        (r'"50\%\_"', r"50\%\_"),
        (r'r"a\n"', r"a\n"),
        (r"R'\%'", r"\%"),
    ],
)
def test_strings(text: str, value: str) -> None:
    assert decode_string(text, SPAN) == value


@pytest.mark.parametrize("text", [r'"\q"', r'"\ud800"', r'"\UFFFFFFFF"', r'"\x4"'])
def test_an_unknown_escape_is_a_fault(text: str) -> None:
    with pytest.raises(Fault, match=r"escape|not a character"):
        decode_string(text, SPAN)


@pytest.mark.parametrize(
    ("left", "symbol", "right", "value"),
    [
        (7, "/", 2, 3),
        (-7, "/", 2, -3),
        (7, "/", -2, -3),
        (-7, "%", 4, -3),
        (7, "%", -4, 3),
        (7.0, "/", 2, 3.5),
        (2, "**", 10, 1024),
        (2, "**", -1, 0.5),
        (2**62, "**", 1, 2**62),
        (1, "+", 2.5, 3.5),
        (2, "-", 3, -1),
        (2, "*", 3, 6),
    ],
)
def test_constants_compute_as_in_cpp(left: float, symbol: str, right: float, value: float) -> None:
    result = fold(symbol, left, right, SPAN)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("left", "symbol", "right", "says"),
    [
        (1, "/", 0, "division by zero"),
        (1, "%", 0, "division by zero"),
        (1.5, "%", 2, "integers only"),
        (2**62, "*", 4, "more than 64 bits"),
        (1e308, "*", 10, "not a number of 64 bits"),
        (10.0, "**", 400, "beyond the range"),
        (-8, "**", 0.5, "not a number of 64 bits"),
        (0, "**", -1, "beyond the range"),
    ],
)
def test_constants_without_a_value_are_faults(left: float, symbol: str, right: float, says: str) -> None:
    with pytest.raises(Fault, match=says):
        fold(symbol, left, right, SPAN)
