import pytest

from roost.engine.filter.place import EXCERPT_WIDTH, invalid_filter, near
from roost.engine.filter.tree import Fault, Span


def marked(text: str, start: int, end: int) -> tuple[str, str]:
    """Return the message's excerpt and what stands above the carets."""
    error = invalid_filter(text, Fault(Span(start, end), "wrong"))
    head, shown, carets = str(error.message).split("\n")
    assert head == "invalid filter: wrong"
    return shown[2:], shown[carets.index("^") : len(carets)]


def test_the_place_is_marked() -> None:
    assert marked("agee > 3", 0, 4) == ("agee > 3", "agee")


def test_the_end_is_marked_behind_the_expression() -> None:
    assert marked("a >", 3, 3) == ("a >", "")


@pytest.mark.parametrize("before", [0, 10, 500])
@pytest.mark.parametrize("after", [0, 10, 500])
def test_a_long_expression_is_an_excerpt(before: int, after: int) -> None:
    shown, place = marked("x" * before + "WRONG" + "y" * after, before, before + 5)
    assert place == "WRONG"
    assert len(shown) <= EXCERPT_WIDTH + 6
    assert shown.startswith("...") == (before + 5 + after > EXCERPT_WIDTH and before > EXCERPT_WIDTH // 2)


def test_line_breaks_do_not_move_the_mark() -> None:
    assert marked("a == 1\n\tand bb", 12, 14) == ("a == 1  and bb", "bb")


def test_a_long_place_ends_with_the_excerpt() -> None:
    shown, place = marked("z" * 1000, 0, 1000)
    assert place == "z" * EXCERPT_WIDTH and shown.endswith("...")


def test_the_nearest_name_is_named() -> None:
    assert near("coluor", ["pk", "Colour"]) == "; did you mean 'Colour'?"
    assert near("zzz", ["pk", "colour"]) == ""
