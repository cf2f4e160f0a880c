from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from roost.engine.seen_keys import SeenKeys
from roost.errors import DuplicateKey


@pytest.mark.parametrize("texts", [False, True])
def test_a_key_that_comes_again_is_found_wherever_it_was(texts: bool, rng: np.random.Generator) -> None:
    def column(keys: np.ndarray) -> pa.Array:
        return pa.array(map(str, keys)) if texts else pa.array(keys)

    keys = rng.permutation(2_000)
    for again in keys[::97]:
        seen = SeenKeys("id")
        for part in np.array_split(keys, 13):
            seen.add(column(part))
        seen.add(column(np.array([], dtype=np.int64)))
        with pytest.raises(DuplicateKey, match=f"id={str(again) if not texts else repr(str(again))};"):
            seen.add(column(np.array([5_000, again])))


@pytest.mark.parametrize("keys", [[1, 2, 1], ["a", "b", "a"]])
def test_a_key_twice_in_one_piece_is_found(keys: list[object]) -> None:
    with pytest.raises(DuplicateKey, match=f"id={keys[0]!r}"):
        SeenKeys("id").add(pa.array(keys))
