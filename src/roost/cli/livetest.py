"""`roost livetest`: challengers against the champion on live traffic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roost.cli.output import AsJson, at, print_plain, print_table, say
from roost.cli.values import moment_or_span, numbers, stages
from roost.cli.workspaces import changes, reads

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.lifecycle.live import TestStatus
    from roost.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="Challengers against the champion on live traffic.")

_Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name, as in `search` or `search@staging`.")]
_Test = Annotated[int | None, typer.Option("--test", metavar="NUMBER", help="By default the endpoint's last one.")]


@app.command("list")
@reads
def list_tests(
    workspace: Administration,
    endpoint: Annotated[str | None, typer.Option(help="Only those of this endpoint.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the live tests, newest first."""
    from roost.lifecycle.live.stored import stored_tests

    found = stored_tests(workspace.store, endpoint)
    if as_json:
        print_plain(found)
        return
    print_table(
        ("Test>", "Endpoint", "Champion", "Challengers", "Method", "Metric", "State", "Decision", "Begun", "Ended"),
        (
            (
                one.id,
                one.endpoint,
                one.champion,
                ", ".join(one.challengers),
                one.method,
                one.metric,
                one.state,
                one.decision or "",
                at(one.started_at),
                at(one.ended_at),
            )
            for one in found
        ),
    )


@app.command("status")
@reads
def show_status(workspace: Administration, endpoint: _Endpoint, test: _Test = None, as_json: AsJson = False) -> None:
    """Show how a live test stands, or how it ended, by what all processes have counted; looking changes nothing."""
    from roost.lifecycle.live.stored import standing_of

    _say_status(standing_of(workspace.context, endpoint, test), as_json)


@app.command()
@changes
def start(
    workspace: Workspace,
    endpoint: _Endpoint,
    challenger: Annotated[list[str], typer.Argument(metavar="CHALLENGER...", help="One deployment or several.")],
    method: Annotated[str, typer.Option(help="interleave, balanced, split or shadow.")] = "interleave",
    metric: Annotated[
        str, typer.Option(help="The feedback that counts: click, conversion, label or rating.")
    ] = "click",
    alpha: Annotated[float, typer.Option(help="Probability of naming a better side although there is none.")] = 0.05,
    margin: Annotated[float | None, typer.Option(help="A difference of at most this is none.")] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="DEPLOYMENT=SHARE", help="Of a split: a challenger's share; may be repeated."),
    ] = None,
    ramp: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIME=SHARE",
            help="Of a split: the challengers' share from then on, as in 0=0.05 and 24h=0.2; may be repeated.",
        ),
    ] = None,
    guardrail: Annotated[
        list[str] | None,
        typer.Option(help='Stop as soon as this is broken, as in "error_rate <= 0.01"; may be repeated.'),
    ] = None,
    max_queries: Annotated[int | None, typer.Option(help="End after as many queries, of a split users.")] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="End then: ISO 8601, or from now, as in 36h or 7d.")
    ] = None,
    on_win: Annotated[str, typer.Option(help="nothing; or promote, where the endpoint allows that.")] = "nothing",
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long after an answer its feedback counts.")
    ] = 30.0,
    seed: Annotated[int | None, typer.Option(help="Of the coin; by default a fresh one, which is recorded.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start a live test; every process that serves the endpoint takes part in it."""
    found = workspace.endpoints.get(endpoint).start_test(
        challenger,
        method,
        alpha,
        max_queries,
        seed,
        metric=metric,
        margin=margin,
        weights=numbers(weight, "--weight") or None,
        ramp=stages(ramp, "--ramp") or None,
        guardrails=guardrail or (),
        deadline=moment_or_span(deadline),
        on_win=on_win,
        window_s=window,
    )
    _say_status(found.status(), as_json)


@app.command()
@changes
def stop(
    workspace: Workspace,
    endpoint: _Endpoint,
    reason: Annotated[str, typer.Option(help="Why, for the ledger.")] = "",
    as_json: AsJson = False,
) -> None:
    """End the running live test where it stands; the champion stays."""
    from roost.errors import InvalidTransition

    test = workspace.endpoints.get(endpoint).test
    if test is None:
        raise InvalidTransition(f"no live test of {endpoint!r} is running")
    _say_status(test.stop(reason), as_json)


@app.command("promote-winners")
@changes
def promote_winners(
    workspace: Workspace,
    endpoint: _Endpoint,
    allow: Annotated[bool, typer.Option("--allow/--forbid", help="Whether they may.")],
    as_json: AsJson = False,
) -> None:
    """Say whether live tests may promote a winner by themselves; by default they may, but not in production."""
    workspace.endpoints.get(endpoint).promote_winners(allow)
    if as_json:
        print_plain({"endpoint": endpoint, "promote_winners": allow})
    else:
        say(f"live tests of {endpoint} {'may' if allow else 'may not'} promote a winner by themselves")


@app.command()
def power(
    effect: Annotated[
        float, typer.Option(help="Challenger minus champion: of the metric; if interleaved, win rate minus 1/2.")
    ],
    method: Annotated[str, typer.Option(help="interleave, split or shadow.")] = "interleave",
    base_rate: Annotated[float | None, typer.Option(help="Of a split: the champion's rate of yes, per user.")] = None,
    deviation: Annotated[
        float | None, typer.Option(help="Standard deviation: between users (split), of the differences (shadow).")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Of the test.")] = 0.05,
    wanted: Annotated[
        float, typer.Option("--power", help="Probability of ending within the number that is shown.")
    ] = 0.8,
    ties: Annotated[float, typer.Option(help="If interleaved: the share of queries that neither side wins.")] = 0.0,
    challengers: Annotated[int, typer.Option(min=1, help="How many are in the test.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Say how many queries, or users, a live test needs to find an effect. It needs no workspace."""
    from roost.errors import MissingDependency

    try:
        from roost.lifecycle.livetest import power as calculator
    except ImportError as error:
        raise MissingDependency(f"live tests need more libraries ({error}): pip install 'roost[lifecycle]'") from error
    known: Any = method
    size = calculator.n_queries(
        known, effect, base_rate, deviation, alpha=alpha, power=wanted, ties=ties, n_challengers=challengers
    )
    if as_json:
        print_plain(size)
    else:
        say(f"{size.expected:,} {size.unit} expected; {size.enough:,} are enough with probability {size.power:g}")


@app.command()
@reads
def plot(
    workspace: Administration,
    endpoint: _Endpoint,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The picture; .png, .svg or .pdf.")] = Path("livetest.png"),
    test: _Test = None,
    as_json: AsJson = False,
) -> None:
    """Draw the evidence of a live test over its queries."""
    from roost.errors import InvalidArgument
    from roost.lifecycle.live.stored import standing_of

    if out.suffix not in (".png", ".svg", ".pdf"):
        raise InvalidArgument(f"a picture is a .png, .svg or .pdf, not {out.name!r}")
    status = standing_of(workspace.context, endpoint, test)
    status.plot().savefig(out)
    if as_json:
        print_plain({"test_id": status.test_id, "file": out.absolute()})
    else:
        say(f"drew live test {status.test_id} to {out.absolute()}")


def _say_status(status: TestStatus, as_json: bool) -> None:
    if as_json:
        print_plain(status)
        return
    print_table(
        ("Deployment", "Units>", "Effect>", "Interval", "p>", "Standing", "Errors>", "Latency>"),
        (
            (
                arm.deployment,
                f"{arm.n:,}",
                _number(arm.effect),
                "" if arm.interval is None else f"{arm.interval[0]:+.3f} to {arm.interval[1]:+.3f}",
                _number(arm.p_value),
                arm.standing or ("champion" if arm.deployment == status.champion else ""),
                arm.n_errors,
                "" if arm.latency_ms is None else f"{arm.latency_ms:.1f} ms",
            )
            for arm in status.arms
        ),
        title=f"Live test {status.test_id}, {status.method}, {status.metric}: {status.state}, {status.decision}",
    )
    if status.reason:
        say(status.reason)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
