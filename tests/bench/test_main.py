from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.__main__ import PROGRAMS, SMALL, Program, main, parse, run_program
from bench.comparison import Progress
from bench.work import STEPS, Plan


def test_every_step_is_taken_unless_some_are_named() -> None:
    assert parse([]).steps == [*STEPS, *PROGRAMS]
    assert parse(["--steps", "mixed", "large"]).steps == ["mixed", "large"]
    with pytest.raises(SystemExit):
        parse(["--steps", "cooking"])


def test_the_small_plan_is_smaller() -> None:
    assert SMALL.rows < Plan.rows
    assert SMALL.mixed_s < Plan.mixed_s


def test_every_program_is_a_module_of_the_benchmark() -> None:
    for program in PROGRAMS.values():
        assert (Path(bench.__file__).parent / f"{program.module}.py").exists()


def test_a_program_that_fails_is_named_and_the_run_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "PROGRAMS", {"curve": Program("curve", "what it costs", ("--rows", "7"))})
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    options = parse(["--small", "--steps", "curve"])
    assert run_program("curve", options, tmp_path, Progress()) is None
    assert main(["--small", "--steps", "curve"]) == 1
    assert "failed: curve" in capsys.readouterr().out
