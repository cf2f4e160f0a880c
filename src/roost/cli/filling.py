"""What commands show while a deployment is being filled, and what they say when that is interrupted."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from roost.cli.output import print_error, print_plain, say, stderr

if TYPE_CHECKING:
    from roost.lifecycle.backfill import Progress
    from roost.lifecycle.deployments.deployment import Deployment

INTERRUPTED = 130
"""The shell's exit status for a command that Ctrl-C ended."""

_STAGES = {"embed": "Embed and write", "index": "Build the index", "load": "Load and check", "done": "Done"}


class Filling:
    """A bar on the standard error stream while a deployment is filled; Ctrl-C ends it with how to go on.

    with Filling(workspace_name, endpoint, quiet=False) as filling:
        endpoint.deploy(..., progress=filling.seen)
    """

    def __init__(self, workspace: str, endpoint: Any, quiet: bool) -> None:
        self._workspace = workspace
        self._endpoint = endpoint
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
        self._bar = Bar(
            *columns, MofNCompleteColumn(), TimeRemainingColumn(), console=stderr(), transient=True, disable=quiet
        )
        self._task = self._bar.add_task("Begin", total=None)

    def seen(self, progress: Progress) -> None:
        """Show how far it has come."""
        self._bar.update(
            self._task, description=_STAGES[progress.stage], completed=progress.n_done, total=progress.total
        )

    def __enter__(self) -> Filling:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is KeyboardInterrupt:
            print_error(how_to_go_on(self._workspace, self._endpoint))
            raise typer.Exit(INTERRUPTED) from error


def how_to_go_on(workspace: str, endpoint: Any) -> str:
    """Return what to do after filling a deployment was interrupted."""
    building = [one for one in endpoint.deployments() if one.state.value == "building"]
    if not building:
        return "interrupted; nothing was begun"
    name = building[-1].name
    return (
        f"interrupted; what was done is kept. Go on: roost backfill resume {workspace} {endpoint.name} {name}; "
        f"or give it up: roost backfill cancel {workspace} {endpoint.name} {name}"
    )


def say_ready(deployment: Deployment, as_json: bool) -> None:
    """Print a deployment that was made."""
    if as_json:
        print_plain(deployment)
        return
    text = f"{deployment.endpoint}/{deployment.name} is {deployment.state.value} with {deployment.n_records:,} records"
    if deployment.n_rejected:
        say(f"{text}; {deployment.n_rejected:,} were set aside: see roost backfill rejected")
    else:
        say(text)
