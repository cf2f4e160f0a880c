"""`roost model`: the registered models, their versions, cards and origins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roost.cli.output import AsJson, at, print_facts, print_plain, print_table, say, shortened
from roost.cli.values import called, found_version, numbers, pairs
from roost.cli.workspaces import administers, reads, registers

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.lifecycle.models.registry import ModelVersion

app = typer.Typer(no_args_is_help=True, help="Registered models: versions, cards and origins.")

_Version = Annotated[
    str, typer.Argument(metavar="MODEL/VERSION", help="A version by its number or alias, as in `digits/2`.")
]


@app.command("list")
@reads
def list_models(workspace: Administration, as_json: AsJson = False) -> None:
    """List the registered models with their newest version."""
    newest = {name: workspace.models.versions(name)[-1:] for name in workspace.models.list()}
    if as_json:
        print_plain([{"name": name, "newest": _summary(v[0]) if v else None} for name, v in newest.items()])
        return
    print_table(
        ("Model", "Newest>", "Task", "Registered", "Owner", "Description~"),
        (
            (name, v[0].version, v[0].task, at(v[0].created_at), v[0].owner or "", v[0].description)
            for name, v in newest.items()
            if v
        ),
    )


@app.command()
@reads
def versions(
    workspace: Administration,
    name: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    as_json: AsJson = False,
) -> None:
    """List a model's versions, oldest first."""
    found = workspace.models.versions(name)
    if not found:
        workspace.models.get(name, 1)
    if as_json:
        print_plain([_summary(version) for version in found])
        return
    print_table(
        ("Version>", "Aliases", "Metrics", "Registered", "Owner", "Fingerprint"),
        (
            (
                version.version,
                ", ".join(version.aliases),
                ", ".join(f"{name} {value:g}" for name, value in version.metrics.items()),
                at(version.created_at),
                version.owner or "",
                shortened(version.fingerprint),
            )
            for version in found
        ),
    )


@app.command()
@reads
def show(workspace: Administration, version: _Version, as_json: AsJson = False) -> None:
    """Show all that is recorded of a version."""
    found = _summary(found_version(workspace.models, version))
    if as_json:
        print_plain(found)
        return
    data = [f"{one.name} {shortened(one.digest)}" for one in found.pop("data")]
    print_facts({**found, "data": data})


@app.command()
@reads
def card(workspace: Administration, version: _Version, as_json: AsJson = False) -> None:
    """Print a version's model card as Markdown."""
    found = workspace.governance.card(version)
    if as_json:
        print_plain(found)
    else:
        typer.echo(found.markdown)


@app.command("write-card")
@administers
def write_card(
    workspace: Administration,
    version: _Version,
    section: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=TEXT", help="intended_use, limitations, ethical_considerations or caveats; may be repeated."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Write what only people know into a version's model card."""
    sections = pairs(section, "--section")
    workspace.governance.write_card(version, **sections)
    if as_json:
        print_plain(workspace.governance.card(version))
    else:
        say(f"wrote {', '.join(sections)} of {version}")


@app.command()
@reads
def lineage(
    workspace: Administration,
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="`digits/2`, `image-search/digits-v2`, or an answer's query id.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show where a version, a deployment or an answer comes from: deployment, version, run, code and data."""
    node = workspace.governance.lineage(subject)
    if as_json:
        print_plain(node)
    else:
        say(str(node))


@app.command()
@registers
def register(
    workspace: Administration,
    name: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="MODULE:FUNCTION", help="A function that gives the model; its code is run."),
    ] = None,
    onnx: Annotated[Path | None, typer.Option(metavar="FILE", help="An ONNX model.")] = None,
    task: Annotated[
        str | None, typer.Option(help="Of an ONNX model that predicts: classification or regression.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of an ONNX model of texts: its tokenizer.json.")
    ] = None,
    pooling: Annotated[str, typer.Option(help="Of an ONNX model: none, mean, max or first.")] = "none",
    normalize: Annotated[bool, typer.Option("--normalize", help="Bring an ONNX model's vectors to length 1.")] = False,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="What was measured; may be repeated.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=TEXT", help="A tag; may be repeated.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A file, folder or collection it was made from; may be repeated."),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A function or type that the version may use wherever it is opened, as an error names it; "
            "may be repeated.",
        ),
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="The MLflow run that trained it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    description: Annotated[str, typer.Option(help="In a sentence.")] = "",
    as_json: AsJson = False,
) -> None:
    """Store a model as the next version. The workspace is made if there is none.

    It needs no vectors, so an application or `roost serve` may have the workspace open meanwhile.
    """
    version = workspace.models.register(
        name,
        _opened(source, onnx, task, tokenizer, pooling, normalize),
        run=run,
        metrics=numbers(metric, "--metric"),
        tags=pairs(tag, "--tag"),
        trusted=trust or (),
        data=[workspace.describe(path) for path in data] if data else None,
        owner=owner,
        description=description,
    )
    if as_json:
        print_plain(_summary(version))
    else:
        say(f"registered {version}, fingerprint {version.fingerprint}")


def _opened(
    source: str | None, onnx: Path | None, task: str | None, tokenizer: Path | None, pooling: str, normalize: bool
) -> Any:
    from roost.errors import InvalidArgument

    if (source is None) == (onnx is None):
        raise InvalidArgument("say where the model is: --from MODULE:FUNCTION or --onnx FILE")
    if source is not None:
        return called(source)
    if onnx is None or not onnx.is_file():
        raise InvalidArgument(f"there is no file {onnx}")
    if task is not None:
        from roost.lifecycle.models.predictors.onnx import OnnxPredictor

        return OnnxPredictor(onnx, task=task)
    from roost.lifecycle.models.embedders.onnx import OnnxEmbedder

    return OnnxEmbedder(onnx, pooling=pooling, normalize=normalize, tokenizer=tokenizer)


def _summary(version: ModelVersion) -> dict[str, Any]:
    names = ("fingerprint", "kind", "task", "dim", "aliases", "metrics", "tags", "owner", "description")
    origins = ("run_id", "code", "code_is_dirty", "signature", "created_at")
    shown = {name: getattr(version, name) for name in (*names, *origins)}
    return {"name": version.name, "version": version.version, **shown, "data": version.data_versions}
