"""`roost retrain`: the plans by which models are trained again, and their runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roost.cli.output import AsJson, at, print_plain, print_table, say
from roost.cli.workspaces import administers, changes, reads

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.lifecycle.retrain.outcomes import Outcome
    from roost.lifecycle.retrain.plan import Plan
    from roost.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="Plans by which models are trained again, and their runs.")

_Plan = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's name.")]
_LISTED = ("is_enabled", "last_run")
"""What `list --json` says of a plan beside the plan."""

_Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]


@app.command("list")
@reads
def list_plans(workspace: Administration, as_json: AsJson = False) -> None:
    """List the plans, and how their last runs ended."""
    retraining = workspace.retraining
    found = [(plan, retraining.is_enabled(plan.name), retraining.history(plan.name)) for plan in retraining.plans()]
    if as_json:
        print_plain(
            [{**_shown(plan), "is_enabled": on, "last_run": runs[-1] if runs else None} for plan, on, runs in found]
        )
        return
    print_table(
        ("Plan", "Endpoint", "Model", "Triggers", "Enabled", "Last run", "At"),
        (
            (
                plan.name,
                plan.endpoint,
                plan.model,
                ", ".join(trigger.kind for trigger in plan.triggers) or "by hand",
                "yes" if on else "no",
                runs[-1].state if runs else "",
                at(runs[-1].started_at) if runs else "",
            )
            for plan, on, runs in found
        ),
    )


@app.command()
@changes
def register(
    workspace: Workspace,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The plan as JSON, as `list --json` shows one.")],
    as_json: AsJson = False,
) -> None:
    """Keep a plan; from now on its triggers start it whenever they are looked at."""
    plan = workspace.retraining.register(plan_of(file.read_text(encoding="utf-8")))
    if as_json:
        print_plain(_shown(plan))
    else:
        say(f"plan {plan.name} makes challengers for {plan.endpoint}")


@app.command()
@changes
def run(workspace: Workspace, plan: _Plan, reason: _Reason, as_json: AsJson = False) -> None:
    """Carry out a plan now, and wait for its end; the exit status is 1 if it ended without a challenger."""
    outcome = workspace.retraining.run(plan, reason=reason)
    _say_outcomes([outcome], as_json, one=True)
    if outcome.state != "challenger":
        raise typer.Exit(1)


@app.command()
@changes
def check(workspace: Workspace, as_json: AsJson = False) -> None:
    """Look at the triggers of all plans, carry out those that are due and within their budget, and wait."""
    _say_outcomes(workspace.retraining.check(), as_json)


@app.command()
@reads
def history(workspace: Administration, plan: _Plan, as_json: AsJson = False) -> None:
    """List the runs of a plan, oldest first."""
    workspace.retraining.get(plan)
    _say_outcomes(workspace.retraining.history(plan), as_json)


@app.command()
@administers
def enable(workspace: Administration, plan: _Plan, reason: _Reason, as_json: AsJson = False) -> None:
    """Let triggers start a plan."""
    workspace.retraining.enable(plan, reason=reason)
    _say_done(plan, "is enabled", as_json)


@app.command()
@administers
def disable(workspace: Administration, plan: _Plan, reason: _Reason, as_json: AsJson = False) -> None:
    """Let triggers not start a plan any more."""
    workspace.retraining.enable(plan, False, reason=reason)
    _say_done(plan, "is disabled", as_json)


@app.command()
@administers
def cancel(
    workspace: Administration,
    plan: _Plan,
    reason: Annotated[str, typer.Option(help="Why, for the ledger.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask the run of a plan, in whichever process, to end; nothing where none is running."""
    workspace.retraining.cancel(plan, reason)
    _say_done(plan, "is asked to end its run, if there is one", as_json)


@app.command()
@administers
def remove(workspace: Administration, plan: _Plan, reason: _Reason, as_json: AsJson = False) -> None:
    """Forget a plan; its runs, versions and deployments stay."""
    workspace.retraining.remove(plan, reason=reason)
    _say_done(plan, "is removed", as_json)


def plan_of(text: str) -> Plan:
    """Return a plan that was written as JSON, or that `list --json` showed; what has a default may be left out.

    Raises: InvalidArgument: it is not JSON, or not a plan, or several.
    """
    import json

    from roost.errors import InvalidArgument
    from roost.lifecycle.retrain.plan import Plan

    try:
        given = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"this is not a plan of retraining: it is not JSON: {error}") from error
    if isinstance(given, list):
        if len(given) != 1:
            raise InvalidArgument(f"this is not a plan of retraining but a list of {len(given)}: give one of them")
        given = given[0]
    if isinstance(given, dict):
        given = {name: value for name, value in given.items() if name not in _LISTED}
    try:
        return Plan.from_json(json.dumps(given))
    except InvalidArgument as error:
        raise InvalidArgument(f"this is not a plan of retraining: {error.message}") from error


def _shown(plan: Plan) -> dict[str, object]:
    import json

    shown: dict[str, object] = json.loads(plan.to_json())
    return shown


def _say_outcomes(found: list[Outcome], as_json: bool, one: bool = False) -> None:
    if as_json:
        print_plain(found[0] if one else found)
        return
    print_table(
        ("Job>", "Plan", "Ended", "Trigger~", "Reason~", "Version", "Deployment", "Begun"),
        (
            (o.job_id, o.plan, o.state, o.trigger, o.reason, o.version or "", o.deployment or "", at(o.started_at))
            for o in found
        ),
    )


def _say_done(plan: str, what: str, as_json: bool) -> None:
    if as_json:
        print_plain({"plan": plan, "done": what})
    else:
        say(f"plan {plan} {what}")
