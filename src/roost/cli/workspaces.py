"""Commands on a workspace: where it is, who is acting, and what of it is opened.

What only reads, and what changes nothing but the store, leaves the vectors alone, so that a running application is not
in the way. What needs the vectors of an embedded workspace has to be their only user.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeAlias, cast, get_type_hints

import typer

from roost.cli.store import TOKEN_VARIABLE, opened_store
from roost.cli.values import look_here

if TYPE_CHECKING:
    from roost.cli.administration import Administration
    from roost.workspace import Workspace

P = ParamSpec("P")
_Parameters: TypeAlias = Mapping[str, tuple[Any, Any]]

WorkspaceArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="WORKSPACE",
        help="The workspace's folder; or the URI of a Milvus server, as in `http://host:19530/prod`, with --store "
        "and a token in `ROOST_TOKEN`.",
    ),
]
StoreOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--store", metavar="STORE", help="With a server: the folder or database URL of everything else."),
]
ArtifactsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--artifacts", metavar="FOLDER", help="With a database URL: the folder of the models' files."),
]
ActorOption: TypeAlias = Annotated[
    str | None, typer.Option("--actor", help="Who is acting, for the ledger; otherwise the system's user.")
]
TrustOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="MODULE:NAME",
        help="A function or type that models may use in this process, as an error names it; may be repeated.",
    ),
]

_WHERE: _Parameters = {"store": (StoreOption, None), "artifacts": (ArtifactsOption, None)}
_WHO: _Parameters = {**_WHERE, "actor": (ActorOption, None)}
_WHOLE: _Parameters = {**_WHO, "trust": (TrustOption, None)}


def reads(body: Callable[Concatenate[Administration, P], None]) -> Callable[..., None]:
    """Make a command of a function that reads what needs no vectors, its first argument."""
    return _command(body, _WHERE, opened_administration)


def administers(body: Callable[Concatenate[Administration, P], None]) -> Callable[..., None]:
    """Make a command of a function that changes what needs no vectors, its first argument."""
    return _command(body, _WHO, opened_administration)


def registers(body: Callable[Concatenate[Administration, P], None]) -> Callable[..., None]:
    """Make a command of a function as `administers` does; the workspace is made if there is none."""
    return _command(body, _WHOLE, made_administration)


def changes(body: Callable[Concatenate[Workspace, P], None]) -> Callable[..., None]:
    """Make a command of a function that works on a whole workspace, its first argument."""
    return _command(body, _WHOLE, opened_workspace)


def begins(body: Callable[Concatenate[Workspace, P], None]) -> Callable[..., None]:
    """Make a command of a function as `changes` does; the workspace is made if there is none."""
    return _command(body, _WHOLE, made_workspace)


@contextmanager
def opened_administration(
    workspace: str,
    store: str | None = None,
    artifacts: Path | None = None,
    actor: str | None = None,
    trust: Collection[str] | None = None,
) -> Iterator[Administration]:
    """Give what of a workspace needs no vectors.

    Raises:
        InvalidArgument: a server without a store.
        WorkspaceError: there is no workspace.
        StorageFailure: the store cannot be opened, or holds no workspace.
    """
    _check_store(workspace, store)
    with opened_store(store if store is not None else workspace) as opened:
        from roost.cli.administration import Administration

        administration = Administration(opened, workspace, store or workspace, artifacts, actor, trust or ())
        try:
            yield administration
        finally:
            administration.close()


@contextmanager
def made_administration(
    workspace: str,
    store: str | None = None,
    artifacts: Path | None = None,
    actor: str | None = None,
    trust: Collection[str] | None = None,
) -> Iterator[Administration]:
    """Give what of a workspace needs no vectors; a workspace is made if there is none.

    Raises: InvalidArgument: see `opened_administration`; or a database URL without a folder for the models' files.
    """
    from roost.errors import InvalidArgument, StorageFailure, WorkspaceError

    _check_store(workspace, store)
    home = store if store is not None else workspace
    if "://" in home and artifacts is None:
        raise InvalidArgument("with a database URL say where the models' files are kept: --artifacts FOLDER")
    try:
        _check_exists(home)
    except (StorageFailure, WorkspaceError):
        with made_workspace(workspace, store, artifacts, actor, trust):
            pass
    look_here()
    with opened_administration(workspace, store, artifacts, actor, trust) as opened:
        opened.models.reconcile()
        yield opened


@contextmanager
def opened_workspace(
    workspace: str,
    store: str | None = None,
    artifacts: Path | None = None,
    actor: str | None = None,
    trust: Collection[str] | None = None,
) -> Iterator[Workspace]:
    """Give a workspace that exists, vectors included.

    Raises:
        WorkspaceError: there is none.
        DatabaseLocked: another process has its vectors open.
    """
    _check_store(workspace, store)
    _check_exists(store if store is not None else workspace)
    with made_workspace(workspace, store, artifacts, actor, trust) as opened:
        yield opened


@contextmanager
def made_workspace(
    workspace: str,
    store: str | None = None,
    artifacts: Path | None = None,
    actor: str | None = None,
    trust: Collection[str] | None = None,
) -> Iterator[Workspace]:
    """Give a workspace, which is made if there is none.

    Raises:
        InvalidArgument: a server without a store.
        DatabaseLocked: another process has its vectors open.
    """
    from roost.errors import DatabaseLocked, MissingDependency

    _check_store(workspace, store)
    try:
        from roost.workspace import Workspace
    except ImportError as error:
        raise MissingDependency(f"workspaces need more libraries ({error}): pip install 'roost[lifecycle]'") from error
    look_here()
    token = os.environ.get(TOKEN_VARIABLE)
    connection = {"token": token} if token and "://" in workspace else {}
    try:
        opened = Workspace(workspace, store, actor, artifacts, trust or (), **connection)
    except DatabaseLocked as error:
        # The error advises on an argument of Python, which no command has.
        holder = error.message.partition("; close it there")[0]
        raise DatabaseLocked(
            f"{holder}. If that is `roost serve`, ask it over REST: /docs at its address has the routes. Another "
            "application has to do this itself, or to be stopped first; vectors on a server can be used by many"
        ) from error
    with opened:
        yield opened


def _check_store(workspace: str, store: str | None) -> None:
    """Raise InvalidArgument for a server without a store."""
    from roost.errors import InvalidArgument

    if store is None and workspace.startswith(("http://", "https://", "tcp://")):
        raise InvalidArgument("with a server say where the rest is kept: --store FOLDER or a database URL")


def _check_exists(home: str) -> None:
    """Raise WorkspaceError or StorageFailure where there is no workspace."""
    with opened_store(home):
        pass


def _command(
    body: Callable[..., None], common: _Parameters, opened: Callable[..., AbstractContextManager[Any]]
) -> Callable[..., None]:
    """Return a command that opens a workspace for `body`: with its options, and those that name the workspace.

    What both have, under one name, is the body's to explain, and both get it.
    """
    first, *own = inspect.signature(body).parameters.values()
    written = {name: text for name, text in body.__annotations__.items() if name != first.name}
    known = cast(Any, SimpleNamespace(__annotations__=written))
    hints = get_type_hints(known, globalns=cast(Any, body).__globals__, include_extras=True)
    named: dict[str, tuple[Any, Any]] = {
        "workspace": (WorkspaceArgument, inspect.Parameter.empty),
        **{one.name: (hints[one.name], one.default) for one in own},
        **{name: option for name, option in common.items() if name not in hints},
    }
    both = [name for name in common if name in hints]

    def command(**given: Any) -> None:
        where = {name: given.pop(name) for name in ("workspace", *common)}
        with opened(**where) as workspace:
            body(workspace, **given, **{name: where[name] for name in both})

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(n, kind, default=d, annotation=a) for n, (a, d) in named.items()]
    as_function = cast(Any, command)
    as_function.__signature__ = inspect.Signature(parameters)
    as_function.__annotations__ = {name: annotation for name, (annotation, _) in named.items()}
    as_function.__name__, as_function.__doc__ = body.__name__, body.__doc__
    return command
