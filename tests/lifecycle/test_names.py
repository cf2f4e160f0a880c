from __future__ import annotations

import pytest

from roost.errors import InvalidName
from roost.lifecycle.names import (
    MAX_NAME_LENGTH,
    PRODUCTION,
    check_name,
    collection_name,
    identifier,
    qualified,
    suggestion,
)


@pytest.mark.parametrize("name", ["a", "image-search", "Digits_2", "a" * MAX_NAME_LENGTH])
def test_good_names_pass(name: str) -> None:
    assert check_name("endpoint", name) == name


@pytest.mark.parametrize(
    "name", ["", "2nd", "-a", "_a", "a b", "a/b", "ä", "a'", "a\n", "a" * (MAX_NAME_LENGTH + 1), None, 3]
)
def test_bad_names_are_refused_with_what_is_allowed(name: object) -> None:
    with pytest.raises(InvalidName, match=r"endpoint name .* letters, digits"):
        check_name("endpoint", name)


def test_the_engine_gets_names_that_it_allows() -> None:
    assert identifier("image-search") == "image_search"
    assert collection_name("image-search", "digits-v1") == "image_search__digits_v1"
    assert identifier("image-search@staging-2") == "image_search_at_staging_2"


def test_an_endpoint_s_name_tells_its_environment_outside_of_production() -> None:
    assert qualified("image-search") == qualified("image-search", PRODUCTION) == "image-search"
    assert qualified("image-search", "staging") == "image-search@staging"


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("a@staging", "production", "endpoint name"),
        ("a", "", "environment name"),
        ("a", "two words", "environment name"),
        ("a", "e" * 51, "longer than 50"),
        ("a" * 95, "staging", "longer than"),
    ],
)
def test_a_name_or_an_environment_that_cannot_be_is_refused(name: str, environment: str, message: str) -> None:
    with pytest.raises(InvalidName, match=message):
        qualified(name, environment)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (["digits", "letters"], "did you mean 'digits'? there are: digits, letters"),
        (["letters"], "there are: letters"),
        ([], "there are: none"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(known: list[str], said: str) -> None:
    assert suggestion("digit", known) == said
