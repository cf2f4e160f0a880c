"""`roost demo`: the walk from labelled images to a promoted model, shown on the terminal."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from roost.cli.output import AsJson, print_error, print_json, print_table, stderr, stdout

if TYPE_CHECKING:
    from roost.demo.outcome import Outcome, Step

REPORT_FILE = "report.html"
_INTERRUPTED = 130
"""The shell's exit status for a command that Ctrl-C ended."""


class Data(str, Enum):
    """Data sets that need no download."""

    digits = "digits"
    fashion_mnist = "fashion-mnist"


def demo(
    uri: Annotated[
        str | None, typer.Option(help="Keep the vectors on this Milvus server, for example http://127.0.0.1:19530.")
    ] = None,
    data: Annotated[
        Data, typer.Option(help="Images to search; fashion-mnist needs Debian's package dataset-fashion-mnist.")
    ] = Data.digits,
    out: Annotated[Path, typer.Option(help="Folder for the workspace and the report.")] = Path("roost-demo"),
    as_json: AsJson = False,
) -> None:
    """Put a better embedding model into production under live traffic, and measure what users notice.

    Trains two models on images, deploys one to an image-search endpoint, backfills the other while a client searches
    without pause, tests it on live traffic, promotes it, rolls back, promotes it again, and verifies the ledger. The
    exit status is 0 if every promise held.
    """
    try:
        outcome = _run(uri, data, out)
    except KeyboardInterrupt:
        print_error("interrupted; nothing is left running")
        raise typer.Exit(_INTERRUPTED) from None
    report = _write_report(outcome, out)
    if as_json:
        print_json({**outcome.to_dict(), "report": str(report)})
    else:
        _print_outcome(outcome, report)
    if not outcome.kept:
        for promise in outcome.promises:
            if not promise.kept:
                print_error(f"a promise was broken: {promise.text.lower()} ({promise.measured})")
        raise typer.Exit(1)


def _run(uri: str | None, data: Data, out: Path) -> Outcome:
    with _ProgressWatcher() as watcher:
        watcher.began("Load the images and libraries")
        try:
            # The report is imported for what it needs: a missing library is told before the work, not after it.
            import roost.demo.report  # noqa: F401
            from roost.demo.images import load_images
            from roost.demo.walk import run_demo
        except ImportError as error:
            from roost.errors import MissingDependency

            raise MissingDependency(f"the demo needs more libraries ({error}): pip install 'roost[demo]'") from error
        return run_demo(load_images(data.value), out, uri, watcher)


def _write_report(outcome: Outcome, out: Path) -> Path:
    from roost.demo.report import render_report

    path = out / REPORT_FILE
    path.write_text(render_report(outcome), encoding="utf-8")
    return path.absolute()


def _print_outcome(outcome: Outcome, report: Path) -> None:
    print_table(
        ("Step~", "Result~", "Time>"),
        ((step.name, step.result, f"{step.seconds:.2f} s") for step in outcome.steps),
        title=f"Roost demo: {outcome.images.name}, {outcome.uri}",
    )
    print_table(
        ("", "Promise~", "Measured~"),
        (
            (Text("✓", "bold green") if promise.kept else Text("✗", "bold red"), promise.text, promise.measured)
            for promise in outcome.promises
        ),
    )
    stdout().print(
        Text.assemble(f"Done in {outcome.seconds:.1f} s. Report: ", (report.as_uri(), "bold")), soft_wrap=True
    )


class _ProgressWatcher:
    """Shows the step under way as a bar; where there is no terminal, a line for every step that is done."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=stderr(),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> _ProgressWatcher:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def began(self, name: str) -> None:
        self._progress.reset(self._task, description=name, total=None)

    def advanced(self, done: int, total: int | None) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def ended(self, step: Step) -> None:
        if not self._progress.console.is_terminal:
            self._progress.console.print(f"{step.name}: {step.result} ({step.seconds:.2f} s)", markup=False)
