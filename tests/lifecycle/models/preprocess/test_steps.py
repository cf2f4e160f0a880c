from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roost.errors import Corruption, InvalidArgument, InvalidData
from roost.lifecycle.models.preprocess import Columns, Images, Preprocessor, Scale, Texts
from roost.lifecycle.models.preprocess.steps import Preprocessing

ALL = (Columns(("a", "b"), {"b": ("x", "y")}, missing=0.0), Scale((1.0, 0.0, 0.0), 2.0))


def test_steps_follow_each_other() -> None:
    made = Preprocessing(ALL)([{"a": 3.0, "b": "y"}, {"a": None}])
    np.testing.assert_array_equal(made, [[1.0, 0.0, 0.5], [-0.5, 0.0, 0.0]])


@pytest.mark.parametrize("steps", [ALL, Images(4, 3, "rgb", "chw"), Texts(10, lowercase=True), Scale([1.0, 2.0], 3)])
def test_steps_are_found_again(steps: object, tmp_path: Path) -> None:
    made = Preprocessing(steps)  # type: ignore[arg-type]
    made.save(tmp_path)
    loaded = Preprocessing.load(tmp_path)
    assert loaded.steps == made.steps
    assert loaded.fingerprint("sha256:1") == made.fingerprint("sha256:1") != "sha256:1"
    example = made.example()
    assert example is None or len(made(example)) == 1


def test_no_steps_leave_no_trace(tmp_path: Path) -> None:
    nothing = Preprocessing()
    nothing.save(tmp_path)
    assert not nothing and list(tmp_path.iterdir()) == []
    assert Preprocessing.load(tmp_path).steps == () and nothing.fingerprint("sha256:1") == "sha256:1"


def test_another_option_is_another_model() -> None:
    made = {Preprocessing(step).fingerprint("m") for step in (Texts(), Texts(5), Texts(6), Scale(), Scale(0.0, 2.0))}
    assert len(made) == 5


def test_steps_that_could_not_be_stored_are_refused() -> None:
    class Own(Texts):
        """A step of somebody else."""

    for step in (Own(), "texts", object()):
        with pytest.raises(InvalidArgument, match="there are: Columns, Images, Scale, Texts"):
            Preprocessing([step])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "content", ["not json", json.dumps([{"name": "telepathy"}]), json.dumps([{"name": "texts", "max_chars": 0}])]
)
def test_stored_steps_that_cannot_be_read_are_damage(content: str, tmp_path: Path) -> None:
    (tmp_path / "preprocess.json").write_text(content)
    with pytest.raises(Corruption, match=r"preprocess\.json"):
        Preprocessing.load(tmp_path)


def test_scale_takes_numbers_of_its_shape() -> None:
    np.testing.assert_array_equal(Scale(1.0, 2.0)([[3, 5]]), [[1.0, 2.0]])
    for batch in ([["a"]], [[1.0, 2.0, 3.0]]):
        with pytest.raises(InvalidData, match="not numbers of the shape"):
            Scale((1.0, 2.0), 1.0)(batch)
    for mean, scale in [(0.0, 0.0), (float("nan"), 1.0), (0.0, (1.0, float("inf")))]:
        with pytest.raises(InvalidArgument, match="finite"):
            Scale(mean, scale)


def test_texts_are_written_one_way() -> None:
    made = Texts(max_chars=4, lowercase=True)(["Cafe\u0301 au lait", "A"])
    assert made.tolist() == ["caf\u00e9", "a"]
    with pytest.raises(InvalidData, match="content 1 of the batch is of type int"):
        Texts()(["a", 1])
    with pytest.raises(InvalidArgument, match="max_chars=0"):
        Texts(0)


def test_every_step_says_that_it_is_one() -> None:
    assert all(isinstance(step, Preprocessor) for step in (*ALL, Texts(), Images(1, 1)))
