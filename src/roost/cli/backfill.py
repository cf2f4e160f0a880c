"""`roost backfill`: the long work of filling deployments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roost.cli.deploy import IndexOption, IndexParamOption, index_of
from roost.cli.filling import Filling, say_ready
from roost.cli.output import AsJson, at, print_facts, print_plain, print_table, say
from roost.cli.sources import (
    Asked,
    BatchSizeOption,
    CollectionOption,
    ContentFieldOption,
    ContentOption,
    FilterOption,
    KeyOption,
    ParquetOption,
    RateLimitOption,
    RecordsOption,
    RunnerOption,
    VerifyOption,
    WorkersOption,
)
from roost.cli.values import found_version
from roost.cli.workspaces import administers, changes, reads

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.lifecycle.context import Context
    from roost.lifecycle.jobs import Job
    from roost.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="Filling deployments: what it takes, how far it is, pause, go on.")

_Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name, as in `search` or `search@staging`.")]
_Deployment = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment that is being built.")]
_Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a deployment is, for who asks its backfill to stop."""

    context: Context
    endpoint_id: int
    name: str
    environment: str


@app.command("list")
@reads
def list_jobs(
    workspace: Administration,
    endpoint: Annotated[str | None, typer.Option(help="Only those of this endpoint.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the backfills, newest first."""
    jobs = workspace.jobs.list("backfill", endpoint)
    if as_json:
        print_plain(jobs)
        return
    print_table(
        ("Job>", "Endpoint", "Deployment", "State", "Done>", "Of>", "Set aside>", "Seen"),
        (
            (
                job.id,
                job.endpoint or "",
                job.deployment or "",
                _state(job),
                f"{job.n_done:,}",
                "" if job.total is None else f"{job.total:,}",
                job.n_rejected or "",
                at(job.updated_at),
            )
            for job in jobs
        ),
    )


@app.command()
@reads
def show(
    workspace: Administration,
    job: Annotated[int, typer.Argument(metavar="JOB", help="Its number, as `list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Show one backfill: from where, how far, by whom, and why it stopped."""
    found = workspace.jobs.get(job)
    if as_json:
        print_plain(found)
        return
    total = "" if found.total is None else f" of {found.total:,}"
    shown: dict[str, Any] = {
        "job": found.id,
        "deployment": f"{found.endpoint}/{found.deployment}",
        "state": _state(found),
        "done": f"{found.n_done:,}{total}, {found.n_rejected:,} set aside",
        "by": f"{found.actor or ''} in {found.worker or 'no process'}",
        "begun": at(found.created_at),
        "seen": at(found.updated_at),
        **found.request,
        **found.result,
        "error": found.error,
    }
    print_facts(shown)


@app.command()
@reads
def rejected(workspace: Administration, endpoint: _Endpoint, deployment: _Deployment, as_json: AsJson = False) -> None:
    """List the records that could not be embedded or stored, and why."""
    from roost.lifecycle.deployments import builder

    found = builder.rejected(_place(workspace, endpoint), deployment)
    if as_json:
        print_plain([{"key": key, "reason": reason} for key, reason in found])
    else:
        print_table(("Key", "Reason~"), found)


@app.command()
@changes
def estimate(
    workspace: Workspace,
    endpoint: _Endpoint,
    model: Annotated[str, typer.Argument(metavar="MODEL/VERSION", help="A version by its number or alias.")],
    parquet: ParquetOption = None,
    key: KeyOption = "id",
    content: ContentOption = "content",
    collection: CollectionOption = None,
    content_field: ContentFieldOption = "content",
    filter: FilterOption = "",
    records: RecordsOption = None,
    index: IndexOption = None,
    index_param: IndexParamOption = None,
    sample: Annotated[int, typer.Option(min=4, help="Records that are tried.")] = 2048,
    batch_size: BatchSizeOption = 256,
    price_per_1000: Annotated[float, typer.Option(min=0.0, help="What embedding 1,000 records costs.")] = 0.0,
    price_per_hour: Annotated[float, typer.Option(min=0.0, help="What an hour costs.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Say what filling a deployment would take: time, memory and cost, measured on the first records."""
    from roost.lifecycle.backfill import Price

    price = Price(price_per_1000, price_per_hour) if price_per_1000 or price_per_hour else None
    source = Asked(parquet, key, content, collection, content_field, filter, records).open(workspace.vectors)
    found = workspace.endpoints.get(endpoint).estimate(
        found_version(workspace.models, model),
        source,
        index=index_of(index, index_param),
        sample=sample,
        batch_size=batch_size,
        price=price,
    )
    if as_json:
        print_plain(found)
    else:
        say(str(found))


@app.command()
@administers
def pause(
    workspace: Administration,
    endpoint: _Endpoint,
    deployment: _Deployment,
    reason: _Reason = "",
    as_json: AsJson = False,
) -> None:
    """Let whoever fills a deployment, in any process, stop after the present batch; `resume` goes on."""
    from roost.lifecycle.deployments import builder

    builder.pause(_place(workspace, endpoint), deployment, reason)
    _say_job(_job(workspace, endpoint, deployment), as_json)


@app.command()
@changes
def resume(
    workspace: Workspace,
    endpoint: _Endpoint,
    deployment: _Deployment,
    parquet: ParquetOption = None,
    key: KeyOption = "id",
    content: ContentOption = "content",
    collection: CollectionOption = None,
    content_field: ContentFieldOption = "content",
    filter: FilterOption = "",
    records: RecordsOption = None,
    batch_size: BatchSizeOption = 256,
    workers: WorkersOption = 1,
    runner: RunnerOption = "threads",
    rate_limit: RateLimitOption = None,
    verify: VerifyOption = 64,
    as_json: AsJson = False,
) -> None:
    """Go on with a deployment whose filling was interrupted or paused.

    Parquet files and collections are remembered; records of a function are given again.
    """
    opened = workspace.endpoints.get(endpoint)
    asked = Asked(parquet, key, content, collection, content_field, filter, records)
    source = asked.open(workspace.vectors) if asked.is_given else None
    options: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "runner": runner, "verify": verify}
    with Filling(workspace.location, opened, quiet=as_json) as filling:
        built = opened.resume(deployment, source, rate_limit=rate_limit, progress=filling.seen, **options)
    say_ready(built, as_json)


@app.command()
@changes
def cancel(
    workspace: Workspace,
    endpoint: _Endpoint,
    deployment: _Deployment,
    reason: _Reason = "",
    as_json: AsJson = False,
) -> None:
    """Give up a deployment that is being built; its vectors are dropped."""
    workspace.endpoints.get(endpoint).cancel(deployment, reason)
    found = next((job for job in workspace.jobs.list("backfill", endpoint) if job.deployment == deployment), None)
    if found is not None:
        _say_job(found, as_json)
    elif as_json:
        print_plain({"endpoint": endpoint, "deployment": deployment, "state": "cancelled", "n_done": 0})
    else:
        say(f"{endpoint}/{deployment} is given up; its filling had not begun")


def _place(workspace: Administration, endpoint: str) -> _Place:
    row = workspace.endpoint(endpoint)
    return _Place(workspace.context, row.id, row.name, row.environment)


def _job(workspace: Administration, endpoint: str, deployment: str) -> Job:
    return next(job for job in workspace.jobs.list("backfill", endpoint) if job.deployment == deployment)


def _state(job: Job) -> str:
    return job.state if job.wanted == "run" or job.state != "running" else f"{job.state}, to {job.wanted}"


def _say_job(job: Job, as_json: bool) -> None:
    if as_json:
        print_plain(job)
    else:
        say(f"job {job.id} of {job.endpoint}/{job.deployment}: {_state(job)}, {job.n_done:,} records done")
