"""`roost role`, `approval`, `comment`, `data` and `debt`: who may do what, who agreed, and what nobody looks after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from roost.cli.output import AsJson, at, print_plain, print_table, say, shortened
from roost.cli.workspaces import administers, reads

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.lifecycle.governance.requests import Request

role_app = typer.Typer(no_args_is_help=True, help="Who may do what.")
approval_app = typer.Typer(no_args_is_help=True, help="What needs the approval of others, and who gave it.")
comment_app = typer.Typer(no_args_is_help=True, help="What people say about versions, deployments and endpoints.")
data_app = typer.Typer(no_args_is_help=True, help="The data that models were made from.")

_Person = Annotated[str, typer.Argument(metavar="WHO", help="The actor's name.")]
_Role = Annotated[str, typer.Argument(metavar="ROLE", help="viewer, developer, operator, approver or admin.")]
_Environment = Annotated[str | None, typer.Option(help="By default every environment.")]
_Subject = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="As in `digits/2`, `image-search/digits-v2` or `image-search`.")
]
_Number = Annotated[int, typer.Argument(metavar="REQUEST", help="Its number, as `list` shows it.")]


@role_app.command()
@administers
def grant(
    workspace: Administration, who: _Person, role: _Role, environment: _Environment = None, as_json: AsJson = False
) -> None:
    """Give somebody a role. With the first one of a workspace, who grants it becomes admin."""
    workspace.governance.grant(who, role, environment)
    _say_roles(workspace, who, as_json)


@role_app.command()
@administers
def revoke(
    workspace: Administration, who: _Person, role: _Role, environment: _Environment = None, as_json: AsJson = False
) -> None:
    """Take a role away."""
    workspace.governance.revoke(who, role, environment)
    _say_roles(workspace, who, as_json)


@role_app.command("list")
@reads
def list_roles(
    workspace: Administration,
    who: Annotated[str | None, typer.Option(help="Only those of this person.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the roles; without any, everybody may do everything."""
    _say_roles(workspace, who, as_json)


@approval_app.command()
@administers
def require(
    workspace: Administration,
    action: Annotated[str, typer.Argument(metavar="ACTION", help="As the ledger names it, for example promote.")],
    approvals: Annotated[int, typer.Option(min=0, help="How many; 0 for none any more.")] = 1,
    environment: _Environment = None,
    own_counts: Annotated[bool, typer.Option("--own-counts", help="The approval of who asks counts too.")] = False,
    expires_hours: Annotated[float | None, typer.Option(help="After which a request is not good any more.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let an action need approvals from now on."""
    workspace.governance.require(action, environment, approvals, by_others=not own_counts, expires_hours=expires_hours)
    if as_json:
        print_plain({"action": action, "environment": environment, "n_approvals": approvals})
    else:
        say(f"{action} needs {approvals} approvals in {environment or 'every environment'}")


@approval_app.command("request")
@administers
def request_approval(
    workspace: Administration,
    action: Annotated[str, typer.Argument(metavar="ACTION", help="As the ledger names it, for example promote.")],
    subject: _Subject,
    reason: Annotated[str, typer.Option(help="Why.")],
    as_json: AsJson = False,
) -> None:
    """Ask for the approval of an action."""
    _say_requests([workspace.governance.request(action, subject, reason)], as_json, one=True)


@approval_app.command()
@administers
def review(
    workspace: Administration,
    subject: _Subject,
    reason: Annotated[str, typer.Option(help="Why.")],
    reviewer: Annotated[str | None, typer.Option(help="Who is asked; by default anybody who may approve.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask somebody to look at a model version or a deployment; it holds nothing back by itself."""
    _say_requests([workspace.governance.request_review(subject, reason, reviewer)], as_json, one=True)


@approval_app.command()
@administers
def approve(
    workspace: Administration,
    request: _Number,
    comment: Annotated[str, typer.Option(help="What there is to say.")] = "",
    as_json: AsJson = False,
) -> None:
    """Approve a request."""
    _say_requests([workspace.governance.approve(request, comment)], as_json, one=True)


@approval_app.command()
@administers
def reject(
    workspace: Administration,
    request: _Number,
    comment: Annotated[str, typer.Option(help="Why.")],
    changes: Annotated[bool, typer.Option("--changes", help="Not for good: ask for changes first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Reject a request, and say why."""
    governance = workspace.governance
    decide = governance.request_changes if changes else governance.reject
    _say_requests([decide(request, comment)], as_json, one=True)


@approval_app.command("list")
@reads
def list_requests(
    workspace: Administration,
    subject: Annotated[str | None, typer.Option(help="Only those about this.")] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the requests for approvals and reviews, oldest first."""
    _say_requests(workspace.governance.requests(subject, open_only), as_json)


@comment_app.command()
@administers
def add(
    workspace: Administration,
    subject: _Subject,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What there is to say.")],
    as_json: AsJson = False,
) -> None:
    """Say something about a model version, a deployment or an endpoint."""
    comment = workspace.governance.comment(subject, text)
    if as_json:
        print_plain(comment)
    else:
        say(f"{comment.actor} on {comment.subject}: {comment.text}")


@comment_app.command("list")
@reads
def list_comments(workspace: Administration, subject: _Subject, as_json: AsJson = False) -> None:
    """List what was said about a subject, oldest first."""
    found = workspace.governance.comments(subject)
    if as_json:
        print_plain(found)
    else:
        print_table(("At", "By", "Comment~"), ((at(one.at), one.actor, one.text) for one in found))


@data_app.command("list")
@reads
def list_data(workspace: Administration, as_json: AsJson = False) -> None:
    """List the data that model versions were made from, oldest first."""
    found = workspace.governance.data()
    if as_json:
        print_plain(found)
        return
    print_table(
        ("Digest", "Kind", "Name", "Rows>", "State", "Reason~"),
        (
            (shortened(d.digest), d.kind, d.name, "" if d.n_rows is None else f"{d.n_rows:,}", d.state, d.reason)
            for d in found
        ),
    )


_Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="Of the data, or the beginning of it.")]


@data_app.command()
@reads
def affected(workspace: Administration, digest: _Digest, as_json: AsJson = False) -> None:
    """Show what was made from data: versions, deployments, what they served and when."""
    found = workspace.governance.affected(digest)
    if as_json:
        print_plain(found)
    else:
        say(str(found))


@data_app.command()
@administers
def mark(
    workspace: Administration,
    digest: _Digest,
    state: Annotated[str, typer.Argument(metavar="STATE", help="good, bad or gone.")],
    reason: Annotated[str, typer.Option(help="Why, for the ledger.")],
    as_json: AsJson = False,
) -> None:
    """Say that data is good, bad or gone, and show what is affected by it."""
    found = workspace.governance.mark_data(digest, state, reason)
    if as_json:
        print_plain(found)
    else:
        say(str(found))


def _say_roles(workspace: Administration, who: str | None, as_json: bool) -> None:
    found = workspace.governance.roles(who)
    if as_json:
        print_plain(found)
        return
    print_table(
        ("Who", "Role", "Environment", "By", "Since"),
        ((one.principal, one.role, one.environment, one.granted_by, at(one.granted_at)) for one in found),
    )


def _say_requests(found: list[Request], as_json: bool, one: bool = False) -> None:
    if as_json:
        print_plain(found[0] if one else found)
        return
    print_table(
        ("Request>", "What", "Subject", "State", "By", "At", "Reason~", "Decisions"),
        (
            (
                request.id,
                request.kind if request.kind == request.action else f"{request.kind} of {request.action}",
                request.subject,
                request.state,
                request.requested_by,
                at(request.requested_at),
                request.reason,
                "\n".join(f"{said.actor}: {said.decision} {said.comment}".strip() for said in request.decisions),
            )
            for request in found
        ),
    )
