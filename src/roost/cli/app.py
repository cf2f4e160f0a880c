"""`roost`: its commands, its options, and how it says that something went wrong."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from roost.cli import (
    backfill,
    debt,
    demo,
    deploy,
    endpoint,
    governance,
    info,
    ledger,
    livetest,
    load,
    model,
    monitor,
    promotion,
    retrain,
    serve,
)
from roost.cli.output import print_error


class _Commands(TyperGroup):
    """Shows an error that a user can act on as one line; the exit status is then 1, or 2 where a value is wrong."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params["debug"] or not _is_for_the_user(error):
                raise
            print_error(str(getattr(error, "message", "") or error))
            raise typer.Exit(_status_of(error)) from error


app = typer.Typer(
    cls=_Commands,
    name="roost",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="An embedded vector database with model operations.",
)
app.command("demo")(demo.demo)
app.command("info")(info.info)
app.command("check")(info.check)
app.command("load")(load.load)
app.add_typer(model.app, name="model")
app.add_typer(endpoint.app, name="endpoint")
app.command("deploy")(deploy.deploy)
app.add_typer(backfill.app, name="backfill")
app.add_typer(livetest.app, name="livetest")
app.command("promote")(promotion.promote)
app.command("rollback")(promotion.rollback)
app.add_typer(monitor.app, name="monitor")
app.add_typer(retrain.app, name="retrain")
app.add_typer(ledger.app, name="ledger")
app.add_typer(governance.role_app, name="role")
app.add_typer(governance.approval_app, name="approval")
app.add_typer(governance.comment_app, name="comment")
app.add_typer(governance.data_app, name="data")
app.command("debt")(debt.debt)
app.command("serve")(serve.serve)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 where it worked, 1 where it did not, 2 where it was called wrongly."""
    app(args=arguments, prog_name="roost")


def _show_version(wanted: bool) -> None:
    if wanted:
        from roost import __version__

        typer.echo(f"roost {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and what libraries log.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    if not debug:
        # pymilvus logs, with a traceback, the very errors that it raises.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def _status_of(error: Exception) -> int:
    """Return the exit status: 2 where a value was given that is never allowed, as the parser of options has it."""
    known = sys.modules.get("roost.errors")
    return 2 if known is not None and isinstance(error, known.InvalidArgument) else 1


def _is_for_the_user(error: Exception) -> bool:
    """Whether the message says all that there is to say; anything else is a defect and keeps its traceback."""
    if isinstance(error, BrokenPipeError):
        return False
    if isinstance(error, OSError):
        return True
    # Whoever raised one of these has imported their module.
    milvus = sys.modules.get("pymilvus.exceptions")
    return milvus is not None and isinstance(error, milvus.MilvusException)
