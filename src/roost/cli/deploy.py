"""`roost deploy`: a deployment of a model version behind an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roost.cli.filling import Filling, say_ready
from roost.cli.output import AsJson, stderr
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
from roost.cli.values import found_version, values
from roost.cli.workspaces import changes

if TYPE_CHECKING:
    from roost.lifecycle.models.registry import ModelVersion
    from roost.workspace import Workspace

IndexOption = Annotated[str | None, typer.Option("--index", help="Type of the index; by default HNSW.")]
IndexParamOption = Annotated[
    list[str] | None,
    typer.Option("--index-param", metavar="NAME=VALUE", help="Of the index, as in M=16; may be repeated."),
]


@changes
def deploy(
    workspace: Workspace,
    endpoint: Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its name, as in `search@staging`.")],
    model: Annotated[
        str, typer.Argument(metavar="MODEL/VERSION", help="A version by number or alias; or the name of a draft.")
    ],
    parquet: ParquetOption = None,
    key: KeyOption = "id",
    content: ContentOption = "content",
    collection: CollectionOption = None,
    content_field: ContentFieldOption = "content",
    filter: FilterOption = "",
    records: RecordsOption = None,
    index: IndexOption = None,
    index_param: IndexParamOption = None,
    search_param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of every search, as in ef=64; may be repeated."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="By default the model's name and version, as in digits-v1.")] = None,
    delivered_from: Annotated[
        str | None, typer.Option(help="The deployment whose success is the reason, as in search@staging/digits-v1.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Only configure it, to be looked at and reviewed.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say first what it will take.")] = False,
    batch_size: BatchSizeOption = 256,
    workers: WorkersOption = 1,
    runner: RunnerOption = "threads",
    rate_limit: RateLimitOption = None,
    verify: VerifyOption = 64,
    as_json: AsJson = False,
) -> None:
    """Make a deployment: embed the records, index them, check them, seal it. A predict endpoint needs no records.

    The endpoint answers and takes writes meanwhile. After Ctrl-C or a kill, `roost backfill resume` goes on.
    """
    opened = workspace.endpoints.get(endpoint)
    version: ModelVersion | str = found_version(workspace.models, model) if "/" in model else model
    asked = Asked(parquet, key, content, collection, content_field, filter, records)
    common: dict[str, Any] = {"name": name, "delivered_from": delivered_from, "owner": owner}
    chosen = index_of(index, index_param)
    if opened.kind == "search":
        common |= {"index": chosen, "search_params": values(search_param, "--search-param") or None}
    if draft:
        say_ready(opened.draft(version, **common), as_json)
        return
    if opened.kind != "search":
        _check_no_records(asked)
        say_ready(opened.deploy(version, **common), as_json)
        return
    if estimate and not isinstance(version, str):
        found = opened.estimate(version, asked.open(workspace.vectors), index=chosen, batch_size=batch_size)
        stderr().print(str(found), soft_wrap=True)
    source = asked.open(workspace.vectors)
    common |= {"batch_size": batch_size, "workers": workers, "runner": runner, "rate_limit": rate_limit}
    with Filling(workspace.location, opened, quiet=as_json) as filling:
        built = opened.deploy(version, source, verify=verify, progress=filling.seen, **common)
    say_ready(built, as_json)


def index_of(kind: str | None, given: list[str] | None) -> dict[str, Any] | None:
    """Return an index as the lifecycle takes it; None for the default one."""
    params = values(given, "--index-param")
    if kind is None and not params:
        return None
    return {"index_type": kind or "HNSW", **params}


def _check_no_records(asked: Asked) -> None:
    from roost.errors import InvalidArgument

    if asked.is_given:
        raise InvalidArgument("a predict endpoint stores no records: leave --parquet, --collection and --records away")
