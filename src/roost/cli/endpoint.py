"""`roost endpoint`: the endpoints of a workspace and their deployments."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from roost.cli.output import AsJson, print_json, print_table, shortened, stdout
from roost.cli.store import WorkspaceArgument, opened_store

if TYPE_CHECKING:
    from roost.lifecycle.deployments import Deployment
    from roost.lifecycle.store import Store
    from roost.lifecycle.store.tables import EndpointRow

app = typer.Typer(no_args_is_help=True, help="The stable names that applications search through.")


@app.command("list")
def list_endpoints(workspace: WorkspaceArgument, as_json: AsJson = False) -> None:
    """List the endpoints and who answers for them."""
    with opened_store(workspace) as store:
        endpoints = [_summary(row, deployments) for row, deployments in read_endpoints(store)]
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
def show(
    workspace: WorkspaceArgument,
    name: Annotated[
        str | None, typer.Argument(metavar="[ENDPOINT]", help="Its name; not needed where there is one endpoint.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show an endpoint's deployments, oldest first."""
    with opened_store(workspace) as store:
        row, deployments = _choose(read_endpoints(store), name)
    summary = _summary(row, deployments)
    if as_json:
        print_json({**summary, "deployments": [asdict(deployment) for deployment in deployments]})
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


def read_endpoints(store: Store) -> list[tuple[EndpointRow, list[Deployment]]]:
    """Return every endpoint, by name, with its deployments, oldest first."""
    from sqlalchemy import select

    from roost.lifecycle.deployments import deployment_of, rows_of
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
