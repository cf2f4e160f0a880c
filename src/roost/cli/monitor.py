"""`roost monitor`: what is watched, what was seen, and what was alerted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roost.cli.output import AsJson, at, print_plain, print_table, say
from roost.cli.values import moment_or_span, values
from roost.cli.workspaces import changes, reads

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.lifecycle.monitor.alerts import Alert
    from roost.lifecycle.monitor.notify import Channel
    from roost.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="What is watched, what was seen, and what was alerted.")

_Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name, as in `search` or `search@staging`.")]
_Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="ISO 8601, or how long ago, as in 90m or 7d; by default a day.")
]


@app.command()
@changes
def watch(
    workspace: Workspace,
    endpoint: _Endpoint,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            help='What is bad, as in "latency_p95_ms > 50 for 3 windows critical"; may be repeated, and replaces all '
            "rules there are. At first errors, empty and far answers, recall and drift."
        ),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Told of alerts, as well as the log, instead of who is told now; repeatable."),
    ] = None,
    webhook_env: Annotated[
        list[str] | None, typer.Option(metavar="VARIABLE", help="An environment variable with a webhook's secret URL.")
    ] = None,
    email: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Told of alerts; needs --email-from; may be repeated.")
    ] = None,
    email_host: Annotated[str, typer.Option(help="Of e-mail: the SMTP server.")] = "localhost",
    email_from: Annotated[str, typer.Option(help="Of e-mail: the sender's address.")] = "",
    email_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of e-mail: port, user, password_env, starttls; may be repeated."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of the monitor, as in window_s=60 or sample_rate=0.1."),
    ] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Put back to its default what is not named.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch an endpoint, in every process that has the workspace open; or watch it differently.

    Of an endpoint that is watched already, what is not named (rules, options, who is told) stays as it is.
    """
    from roost.errors import InvalidArgument
    from roost.lifecycle.monitor.configuration import check_options
    from roost.lifecycle.monitor.notify import Log, Webhook, channel_from_dict

    told: list[Channel] = [Webhook(url) for url in webhook or ()]
    told += [Webhook(url_env=variable) for variable in webhook_env or ()]
    if email:
        if not email_from:
            raise InvalidArgument("--email needs --email-from, the address that the e-mail comes from")
        mail = {"kind": "email", "host": email_host, "sender": email_from, "to": email}
        told.append(channel_from_dict({**values(email_option, "--email-option"), **mail}))
    rules = [rule_of(text) for text in rule] if rule else None
    options = values(option, "--option")
    check_options(options)
    channels = [Log(), *told] if told else None
    status = workspace.monitors.watch(endpoint, rules, channels, defaults=defaults, **options)
    if as_json:
        print_plain(status)
    else:
        say(repr(status))


@app.command()
@changes
def unwatch(workspace: Workspace, endpoint: _Endpoint, as_json: AsJson = False) -> None:
    """Watch an endpoint no more; its history, alerts and baselines stay."""
    workspace.monitors.unwatch(endpoint)
    if as_json:
        print_plain({"endpoint": endpoint, "is_watched": False})
    else:
        say(f"{endpoint} is watched no more")


@app.command("status")
@reads
def show_status(workspace: Administration, endpoint: _Endpoint, as_json: AsJson = False) -> None:
    """Show how an endpoint is watched: rules, baselines, open alerts."""
    from roost.cli.monitored import status_of

    status = status_of(workspace, endpoint)
    if as_json:
        print_plain(status)
    else:
        say(repr(status))


@app.command()
@reads
def report(workspace: Administration, endpoint: _Endpoint, since: _Since = None, as_json: AsJson = False) -> None:
    """Show all figures over a span of time, by deployment; the window that is under way is not in it."""
    from roost.cli.monitored import report_of

    found = report_of(workspace, endpoint, moment_or_span(since))
    if as_json:
        print_plain(found)
    else:
        say(repr(found))


@app.command()
@reads
def history(
    workspace: Administration,
    endpoint: _Endpoint,
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="As in latency_p95_ms, recall or drift.queries.")],
    since: _Since = None,
    deployment: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    bucket: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="One figure for each span of this length.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one figure over time."""
    from roost.cli.monitored import history_of

    points = history_of(workspace, endpoint, metric, moment_or_span(since), deployment, bucket)
    if as_json:
        print_plain(points)
        return
    print_table(
        ("From", "Seconds>", "Deployment", f"{metric}>"),
        ((at(p.at), f"{p.seconds:g}", p.deployment, "" if p.value is None else f"{p.value:.6g}") for p in points),
    )


@app.command()
@reads
def alerts(
    workspace: Administration,
    endpoint: Annotated[str | None, typer.Option(help="Only those of this endpoint.")] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the alerts, newest first."""
    from roost.lifecycle.monitor.alerts import listed

    _say_alerts(listed(workspace.store, endpoint, open_only), as_json)


@app.command()
@changes
def check(workspace: Workspace, endpoint: _Endpoint, as_json: AsJson = False) -> None:
    """Measure recall and drift and judge the rules now, and list what was opened or resolved by it.

    The exit status is 1 if an alert was opened.
    """
    found = workspace.monitors.check_now(endpoint)
    _say_alerts(found, as_json)
    if any(alert.is_open for alert in found):
        raise typer.Exit(1)


def rule_of(text: str) -> Any:
    """Return the rule that a text such as `rate / hour_of_week < 0.5 for 3 windows critical` writes down.

    Raises: InvalidArgument: it is none.
    """
    from roost.lifecycle.monitor.rules import Rule

    return Rule.parse(text)


def _say_alerts(found: list[Alert], as_json: bool) -> None:
    if as_json:
        print_plain(found)
        return
    print_table(
        ("Alert>", "Severity", "State", "Rule", "Deployment", "Message~", "Opened"),
        (
            (
                alert.id,
                alert.severity,
                "open" if alert.is_open else "resolved",
                alert.rule,
                f"{alert.endpoint}/{alert.deployment}",
                alert.message,
                at(alert.opened_at),
            )
            for alert in found
        ),
    )
