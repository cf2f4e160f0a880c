from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from roost.engine.partitions import (
    ISOLATION_PROPERTY,
    RELEASED_PROPERTY,
    isolates,
    loaded_ids,
    parse_isolation,
    released_ids,
    with_released,
)
from roost.engine.records import CollectionRecord
from roost.errors import InvalidArgument
from tests.engine.model import make_schema

RECORD = CollectionRecord(1, 1, "c", make_schema(), 0, partitions={"_default": 0, "p": 1, "q": 2}, loaded=True)


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (False, False), ("true", True), ("False", False), ("TRUE", True)]
)
def test_what_says_yes_and_no(value: Any, expected: bool) -> None:
    assert parse_isolation(value) is expected
    assert isolates(replace(RECORD, properties={ISOLATION_PROPERTY: value})) is expected


@pytest.mark.parametrize("value", [1, 0, None, "", "yes", [True]])
def test_what_says_neither(value: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"partition\.isolation=.* is not allowed: it is true or false"):
        parse_isolation(value)
    assert not isolates(replace(RECORD, properties={ISOLATION_PROPERTY: value})), "as it may have been stored before"


def test_what_is_loaded_and_what_is_released() -> None:
    assert not isolates(RECORD)
    assert (released_ids(RECORD), loaded_ids(RECORD)) == (frozenset(), {0, 1, 2})
    partly = replace(RECORD, properties=with_released({"a": 1}, ["q"]))
    assert partly.properties == {"a": 1, RELEASED_PROPERTY: ["q"]}
    assert (released_ids(partly), loaded_ids(partly)) == ({2}, {0, 1})
    assert loaded_ids(replace(partly, loaded=False)) == frozenset()
    assert with_released(partly.properties, []) == {"a": 1}
