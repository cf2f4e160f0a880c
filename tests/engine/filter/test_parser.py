import pytest

from roost.engine.filter import tree
from roost.engine.filter.parser import parse
from roost.engine.filter.tree import MAX_DEPTH, Fault


def shape(node: object) -> object:
    """The tree without places, as nested tuples."""
    if isinstance(node, tree.Node):
        names = [n for n in type(node).__dataclass_fields__ if n not in ("span", "depth", "name_span")]
        return (type(node).__name__, *(shape(getattr(node, name)) for name in names))
    return tuple(map(shape, node)) if isinstance(node, tuple) else node


def same(first: str, second: str) -> None:
    assert shape(parse(first)) == shape(parse(second))


@pytest.mark.parametrize(
    ("expression", "meaning"),
    [
        ("a + b * c == 1", "(a + (b * c)) == 1"),
        ("a - b - c == 1", "((a - b) - c) == 1"),
        ("a ** b ** c == 1", "((a ** b) ** c) == 1"),
        ("-a ** 2 == 1", "(-(a ** 2)) == 1"),
        ("a ** -b == 1", "(a ** (-b)) == 1"),
        ("a == 1 or b == 2 and c == 3", "a == 1 or (b == 2 and c == 3)"),
        ("not a == 1 and b == 2", "(not (a == 1)) and (b == 2)"),
        ("not s like 'x' or b == 1", "(not (s like 'x')) or b == 1"),
        ("a + 1 in [1]", "(a + 1) in [1]"),
        ("a not in [1]", "not (a in [1])"),
        ("a is not null", "not (a is null)"),
    ],
)
def test_precedence(expression: str, meaning: str) -> None:
    same(expression, meaning)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a == 1 and b == 2", "a == 1 && b == 2"),
        ("a == 1 and b == 2", "a == 1 AND b == 2"),
        ("a == 1 or b == 2", "a == 1 || b == 2"),
        ("a == 1 or b == 2", "a == 1 OR b == 2"),
        ("not (a == 1)", "!(a == 1)"),
        ("not (a == 1)", "NOT (a == 1)"),
        ("a in [1]", "a IN[1]"),
        ("a not in [1]", "a NOT IN [1]"),
        ("s like 'a'", 's LIKE "a"'),
        ("a is null", "a IS  NULL"),
        ("a is not null", "a IS NOT NULL"),
        ("exists a", "EXISTS a"),
        ("a == true", "a == True"),
        ("a == false", "a == FALSE"),
        ("a==1", " a\t==\n1 "),
        ("a in [1, 2]", "a in [1,2,]"),
        ("a in ['x', 'y']", 'a in ["x", "y"]'),
        ('j["k"][0] == 1', "j['k'][ 0 ] == 1"),
        ("(((a == 1)))", "a == 1"),
        ("a == {x}", "a == { x }"),
    ],
)
def test_spellings(one: str, other: str) -> None:
    same(one, other)


def test_a_name_may_begin_with_a_keyword() -> None:
    same("android == 1 or ink == 2 and nothing == 3", "(android == 1) or ((ink == 2) and (nothing == 3))")


def test_a_plain_list_reads_as_a_list_of_expressions() -> None:
    plain, spelled = parse("a in [1, -2, 3.5]"), parse("a in [1, -2, 3.5, (4)]")
    assert isinstance(plain, tree.Member) and isinstance(spelled, tree.Member)
    assert isinstance(plain.values, tree.Literal) and plain.values.value == (1, -2, 3.5)
    assert isinstance(spelled.values, tree.ListOf) and len(spelled.values.items) == 4


def test_places() -> None:
    node = parse("pk == 1 and tag in [2]")
    assert isinstance(node, tree.AllOf)
    assert [(n.span.start, n.span.end) for n in node.operands] == [(0, 7), (12, 22)]


@pytest.mark.parametrize(
    ("expression", "place", "says"),
    [
        ("pk = 1", "=", "write == to compare"),
        ("pk === 1", "===", "write == to compare"),
        ("pk <> 1", "<>", "write != for unequal"),
        ("pk == 1 & b == 2", "&", "write && or and"),
        ('s == "abc', '"', "the string is not closed"),
        ("pk == 7L", "7L", "unexpected '7L'"),
        ("pk == 08", "08", "unexpected '08'"),
        ("pk == 1;", ";", "unexpected ';'"),
        ("pk == 1 And b == 2", "And", "keywords are all lower or all upper case: and or AND"),
        ("pk == 1 b == 2", "b", "expected .*and / or, the end"),
        ("(pk == 1", "", "ends too early; expected '\\)'"),
        ("pk ==", "", "ends too early; expected a field or a value"),
        ("", "", "ends too early"),
        ("pk == 1)", ")", "unexpected '\\)'; expected the end"),
        ("pk in [1, 2", "", "expected ']', ','"),
        ("1 < pk > 3", ">", "a chain has two of"),
        ("1 == pk == 3", "==", "a chain has two of"),
        ("s not like 'a'", "like", "expected in"),
        ("pk == 99999999999999999999", "99999999999999999999", "more than 64 bits"),
        (r's == "\q"', r'"\q"', "unknown escape"),
        (r'j["\q"] == 1', r'j["\q"]', "unknown escape"),
    ],
)
def test_mistakes_are_placed(expression: str, place: str, says: str) -> None:
    with pytest.raises(Fault, match=says) as caught:
        parse(expression)
    assert expression[caught.value.span.start : caught.value.span.end] == place


def test_parentheses_nest_without_end() -> None:
    same("(" * 10_000 + "pk == 1" + ")" * 10_000, "pk == 1")


@pytest.mark.parametrize(
    "expression",
    [
        "not " * 10_000 + "(pk == 1)",
        "pk == " + "-" * 10_000 + "1",
        "pk in " + "[" * 10_000 + "]" * 10_000,
        "pk == 1 and (" * 5_000 + "pk == 1" + ")" * 5_000,
        "pk" + " + 1" * 5_000 + " == 3",
    ],
)
def test_deep_nesting_is_a_fault(expression: str) -> None:
    with pytest.raises(Fault, match=f"at most {MAX_DEPTH} are allowed"):
        parse(expression)


def test_a_long_chain_is_not_deep() -> None:
    node = parse(" or ".join(f"pk == {number}" for number in range(3_000)))
    assert isinstance(node, tree.AnyOf) and len(node.operands) == 3_000
