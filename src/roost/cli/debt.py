"""`roost debt`: what nobody looks after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roost.cli.output import AsJson, print_json, print_table, say
from roost.cli.workspaces import reads

if TYPE_CHECKING:
    from roost.cli.administration import Administration


@reads
def debt(
    workspace: Administration,
    fail_on: Annotated[
        str | None,
        typer.Option(metavar="SEVERITY", help="End with status 1 if there is debt this bad: high, medium or low."),
    ] = None,
    unused_days: Annotated[float, typer.Option(help="When a version that was never deployed counts.")] = 30.0,
    stale_days: Annotated[float, typer.Option(help="When a champion's model counts as old.")] = 180.0,
    unfinished_days: Annotated[float, typer.Option(help="When what stands still counts.")] = 7.0,
    as_json: AsJson = False,
) -> None:
    """List models never deployed, serving but stale, drifted, without an owner or with bad data, with the evidence."""
    from roost.errors import InvalidArgument
    from roost.lifecycle.governance.debt import SEVERITIES, Limits

    if fail_on is not None and fail_on not in SEVERITIES:
        raise InvalidArgument(f"--fail-on takes {', '.join(SEVERITIES)}, not {fail_on!r}")
    report = workspace.governance.debt(Limits(unused_days, stale_days, unfinished_days))
    if as_json:
        print_json(report.to_dicts())
    elif not report.findings:
        say("no debt was found")
    else:
        print_table(
            ("Severity", "Kind", "Subject", "Evidence~", "Advice~"),
            ((one.severity, one.kind, one.subject, one.evidence, one.advice) for one in report.findings),
        )
    if fail_on is not None and report.worst is not None:
        as_bad = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
        if report.worst in as_bad:
            raise typer.Exit(1)
