"""What an error says of itself."""

from __future__ import annotations

import pickle

import pytest

from roost import errors


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RoostError)]
)
def test_an_error_shows_its_message_wherever_it_is_printed(kind: type[errors.RoostError]) -> None:
    error = kind("k=0 is not allowed")
    assert "k=0 is not allowed" in str(error)
    assert repr(error) == f"{kind.__name__}('k=0 is not allowed')"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.code) == (kind, error.message, error.code)
