from __future__ import annotations

from roost.lifecycle.models.aliases import aliases_of


def test_one_endpoint_has_the_plain_alias_too() -> None:
    assert aliases_of({}, {"champion": 3}, "shop") == {"champion--shop": 3, "champion": 3}
    assert aliases_of({"champion": 3, "champion--shop": 3}, {"champion": None}, "shop") == {
        "champion--shop": None,
        "champion": None,
    }


def test_endpoints_that_differ_leave_no_plain_alias() -> None:
    present = {"champion": 3, "champion--shop": 3}
    assert aliases_of(present, {"champion": 4}, "club") == {"champion--club": 4, "champion": None}
    assert aliases_of(present, {"champion": 3}, "club") == {"champion--club": 3, "champion": 3}
    both = {"champion--shop": 3, "champion--club": 4}
    assert aliases_of(both, {"champion": None}, "club") == {"champion--club": None, "champion": 3}


def test_an_alias_is_not_taken_for_another_that_begins_alike() -> None:
    present = {"champion-staging--shop": 7}
    assert aliases_of(present, {"champion": 3}, "shop") == {"champion--shop": 3, "champion": 3}


def test_without_an_endpoint_aliases_are_as_they_are_given() -> None:
    assert aliases_of({"champion--shop": 3}, {"champion": 1, "old": None}, None) == {"champion": 1, "old": None}
