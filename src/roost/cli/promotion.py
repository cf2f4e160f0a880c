"""`roost promote` and `roost rollback`: which deployment answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roost.cli.output import AsJson, print_plain, say
from roost.cli.values import values
from roost.cli.workspaces import changes

if TYPE_CHECKING:
    from roost.lifecycle.deployments.promotion import Switch
    from roost.workspace import Workspace

_Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name, as in `search` or `search@staging`.")]
_Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]
_AcceptMissing = Annotated[
    bool, typer.Option("--accept-missing", help="Even if it is a retired one that missed records meanwhile.")
]


@changes
def promote(
    workspace: Workspace,
    endpoint: _Endpoint,
    deployment: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The one that is to answer.")],
    reason: _Reason,
    evidence: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What the decision rests on; may be repeated."),
    ] = None,
    guardrail: Annotated[
        list[str] | None,
        typer.Option(help='Roll back by itself if this is broken, as in "error_rate <= 0.01"; may be repeated.'),
    ] = None,
    probation_minutes: Annotated[float, typer.Option(help="How long the guardrails are watched.")] = 60.0,
    accept_missing: _AcceptMissing = False,
    as_json: AsJson = False,
) -> None:
    """Make a deployment the champion of its endpoint: it answers from now on."""
    from roost.lifecycle.deployments.probation import Probation

    probation = Probation(tuple(guardrail), minutes=probation_minutes) if guardrail else None
    switch = workspace.endpoints.get(endpoint).promote(
        deployment,
        reason,
        values(evidence, "--evidence"),
        probation=probation,
        accept_missing=accept_missing,
    )
    _say(switch, as_json)


@changes
def rollback(
    workspace: Workspace,
    endpoint: _Endpoint,
    reason: _Reason,
    to: Annotated[
        str | None, typer.Option(metavar="DEPLOYMENT", help="By default the last champion before the present one.")
    ] = None,
    evidence: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What the decision rests on; may be repeated."),
    ] = None,
    accept_missing: _AcceptMissing = False,
    as_json: AsJson = False,
) -> None:
    """Go back to an earlier champion."""
    switch = workspace.endpoints.get(endpoint).rollback(
        to, reason=reason, evidence=values(evidence, "--evidence"), accept_missing=accept_missing
    )
    _say(switch, as_json)


def _say(switch: Switch, as_json: bool) -> None:
    if as_json:
        print_plain(switch)
        return
    before = f", before it {switch.previous}" if switch.previous is not None else ""
    stopped = f"; live test {switch.stopped_test} was stopped" if switch.stopped_test is not None else ""
    say(f"{switch.champion} answers for {switch.endpoint}{before}; switched in {switch.seconds * 1000:.1f} ms{stopped}")
