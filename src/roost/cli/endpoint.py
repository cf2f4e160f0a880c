"""`roost endpoint`: the endpoints of a workspace and their deployments."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from roost.cli.output import AsJson, print_json, print_plain, print_table, say, shortened, stdout
from roost.cli.workspaces import administers, begins, changes, reads

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.lifecycle.deployments.deployment import Deployment
    from roost.lifecycle.store import Store
    from roost.lifecycle.store.tables import EndpointRow
    from roost.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="The stable names that applications search through.")


_Name = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name, as in `search` or `search@staging`.")]
_DeploymentName = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's name.")]
_Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]


@app.command("list")
@reads
def list_endpoints(workspace: Administration, as_json: AsJson = False) -> None:
    """List the endpoints and who answers for them."""
    endpoints = [_summary(row, deployments) for row, deployments in read_endpoints(workspace.store)]
    if as_json:
        print_json(endpoints)
        return
    print_table(
        ("Endpoint", "Champion", "Model", "Deployments>", "Metric", "Description~"),
        (
            (e["name"], e["champion"] or "none", e["model"] or "", e["n_deployments"], e["metric"], e["description"])
            for e in endpoints
        ),
    )


@app.command()
@reads
def show(
    workspace: Administration,
    name: Annotated[
        str | None, typer.Argument(metavar="[ENDPOINT]", help="Its name; not needed where there is one endpoint.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show an endpoint's deployments, oldest first."""
    row, deployments = _choose(read_endpoints(workspace.store), name)
    summary = _summary(row, deployments)
    if as_json:
        from roost.lifecycle.deployments.policy import policy_of

        print_plain({**summary, "policy": policy_of(row), "deployments": [asdict(one) for one in deployments]})
        return
    stdout().print(Text.assemble((summary["name"], "bold"), f"  {summary['metric']}  {summary['description']}"))
    print_table(
        ("Deployment", "State", "Model", "Records>", "Dimensions>", "Index", "Fingerprint"),
        (
            (
                Text(d.name, style="bold" if d.name == summary["champion"] else ""),
                d.state.value,
                d.model,
                f"{d.n_records:,}",
                d.dim,
                d.index.get("index_type", ""),
                shortened(d.fingerprint),
            )
            for d in deployments
        ),
    )


@app.command()
@begins
def create(
    workspace: Workspace,
    name: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name.")],
    kind: Annotated[str, typer.Option(help="search, or predict.")] = "search",
    metric: Annotated[
        str | None, typer.Option(help="Of a search endpoint: L2, IP or COSINE; by default L2.", show_default=False)
    ] = None,
    key: Annotated[str, typer.Option(help="Of a search endpoint: the field of the records' key.")] = "id",
    text_key: Annotated[
        int | None, typer.Option(metavar="LENGTH", help="The keys are texts of at most this many bytes, not integers.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Of a predict endpoint: classification or regression.")] = None,
    environment: Annotated[
        str, typer.Option(help="Elsewhere than in production it is called as in `search@staging`.")
    ] = "production",
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    description: Annotated[str, typer.Option(help="In a sentence.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create an endpoint. The workspace is made if there is none."""
    common: dict[str, Any] = {"description": description, "environment": environment, "owner": owner}
    if kind == "search":
        common |= {"metric": metric or "L2", "fields": _fields(key, text_key)}
    elif metric is not None:
        common |= {"metric": metric}
    made: Any = workspace.endpoints.create(name, kind=kind, task=task, **common)  # type: ignore[call-overload]
    if as_json:
        names = ("name", "kind", "task", "metric", "environment", "owner", "description")
        print_json({name: getattr(made, name) for name in names})
    else:
        say(f"created {made.name}")


@app.command()
@changes
def retire(
    workspace: Workspace, endpoint: _Name, deployment: _DeploymentName, reason: _Reason, as_json: AsJson = False
) -> None:
    """Take a deployment out of use; what was ready keeps its vectors, to be rolled back to."""
    opened = workspace.endpoints.get(endpoint)
    opened.retire(deployment, reason)
    _say_state(opened.deployment(deployment), as_json)


@app.command()
@changes
def purge(
    workspace: Workspace, endpoint: _Name, deployment: _DeploymentName, reason: _Reason, as_json: AsJson = False
) -> None:
    """Drop the vectors of a retired deployment; there is no way back to it."""
    opened = workspace.endpoints.get(endpoint)
    opened.purge(deployment, reason)
    _say_state(opened.deployment(deployment), as_json)


@app.command("keep-retired")
@changes
def keep_retired(
    workspace: Workspace,
    endpoint: _Name,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="How many retired deployments, or `all`.")],
    as_json: AsJson = False,
) -> None:
    """Say of how many retired deployments the vectors are kept, from the next retirement on."""
    from roost.errors import InvalidArgument

    if number != "all" and not number.isdecimal():
        raise InvalidArgument(f"give a number of deployments, or all, not {number!r}")
    opened = workspace.endpoints.get(endpoint)
    opened.keep_retired(None if number == "all" else int(number))
    if as_json:
        print_plain(opened.policy)
    else:
        say(f"{opened.name} keeps the vectors of {number} retired deployments")


@app.command()
@administers
def own(
    workspace: Administration,
    endpoint: _Name,
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="Who answers for it from now on.")],
    reason: Annotated[str, typer.Option(help="Why, for the ledger.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say who answers for an endpoint."""
    workspace.governance.own(endpoint, owner, reason)
    if as_json:
        print_plain({"name": endpoint, "owner": owner})
    else:
        say(f"{owner} answers for {endpoint}")


def read_endpoints(store: Store) -> list[tuple[EndpointRow, list[Deployment]]]:
    """Return every endpoint, by name, with its deployments, oldest first."""
    from sqlalchemy import select

    from roost.lifecycle.deployments.deployment import deployment_of, rows_of
    from roost.lifecycle.store.tables import EndpointRow

    with store.read() as session:
        rows = session.scalars(select(EndpointRow).order_by(EndpointRow.name)).all()
        return [(row, [deployment_of(d, row.name) for d in rows_of(session, row.id)]) for row in rows]


def _choose(
    endpoints: list[tuple[EndpointRow, list[Deployment]]], name: str | None
) -> tuple[EndpointRow, list[Deployment]]:
    from roost.errors import EndpointNotFound

    known = ", ".join(row.name for row, _ in endpoints) or "none"
    if name is None:
        if len(endpoints) != 1:
            raise EndpointNotFound(f"name one of the workspace's endpoints: {known}")
        return endpoints[0]
    for row, deployments in endpoints:
        if row.name == name:
            return row, deployments
    raise EndpointNotFound(f"the workspace has no endpoint {name!r} (it has: {known})")


def _summary(row: EndpointRow, deployments: list[Deployment]) -> dict[str, Any]:
    champion = next((d for d in deployments if d.id == row.champion_id), None)
    return {
        "name": row.name,
        "champion": champion.name if champion else None,
        "model": champion.model if champion else None,
        "n_deployments": len(deployments),
        "metric": row.metric,
        "description": row.description,
        "created_at": row.created_at,
    }


def _fields(key: str, text_key: int | None) -> list[Any]:
    from pymilvus import DataType, FieldSchema

    if text_key is None:
        return [FieldSchema(key, DataType.INT64, is_primary=True)]
    return [FieldSchema(key, DataType.VARCHAR, is_primary=True, max_length=text_key)]


def _say_state(deployment: Deployment, as_json: bool) -> None:
    if as_json:
        print_plain(deployment)
    else:
        say(f"{deployment.endpoint}/{deployment.name} is {'purged' if deployment.purged else deployment.state.value}")
