"""`roost serve`: a workspace over HTTP."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roost.address import without_secrets
from roost.cli.output import stderr, stdout
from roost.cli.workspaces import ActorOption, ArtifactsOption, StoreOption, TrustOption, opened_workspace

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from roost.workspace import Workspace

GRACE_S = 30

_log = logging.getLogger(__name__)


def serve(
    workspace: Annotated[
        str | None,
        typer.Argument(
            metavar="[WORKSPACE]",
            help="The workspace's folder; or the URI of a Milvus server, with --store and a token in `ROOST_TOKEN`.",
        ),
    ] = None,
    store: StoreOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    trust: TrustOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others can reach needs --tokens and TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8080,
    tokens: Annotated[
        Path | None, typer.Option(help="File of lines `ACTOR SHA256`: who may ask, and the digest of their token.")
    ] = None,
    ssl_certfile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Speak TLS: the certificate, and what vouches for it, as PEM.")
    ] = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's key as PEM, if it is in a file of its own.")
    ] = None,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Let others reach it without TLS, as behind a proxy that speaks TLS.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder below which requests may name Parquet files; without it none.")
    ] = None,
    new_token: Annotated[
        str | None, typer.Option(metavar="ACTOR", help="Print a fresh token and its line of the file, and end.")
    ] = None,
) -> None:
    """Serve a workspace over HTTP until Ctrl-C; retraining and monitors run meanwhile.

    Without tokens it answers programs of this machine alone, and they act as the user who started it. The workspace has
    to be there: `roost model register` and `roost endpoint create` make one.
    """
    from roost.server.rest import Tokens, check_certificate, check_reach, create_app, listen

    if new_token is not None:
        _print_token(new_token)
        return
    if workspace is None:
        raise typer.BadParameter("say which WORKSPACE to serve, or --new-token ACTOR")
    known = Tokens.from_file(tokens) if tokens is not None else None
    check_reach(host, known, ssl_certfile is not None, allow_http)
    if ssl_certfile is not None:
        check_certificate(ssl_certfile, ssl_keyfile)
    elif ssl_keyfile is not None:
        raise typer.BadParameter("--ssl-keyfile is the key of a certificate: give --ssl-certfile too")
    if data_dir is not None and not data_dir.is_dir():
        raise typer.BadParameter(f"--data-dir {data_dir} is not a folder")
    with listen(host, port) as listener, opened_workspace(workspace, store, artifacts, actor, trust) as opened:
        _begin(opened)
        _run(opened, create_app(opened, known, data_dir), listener, ssl_certfile, ssl_keyfile)


def _run(opened: Workspace, app: FastAPI, listener: socket.socket, certfile: Path | None, keyfile: Path | None) -> None:
    import uvicorn

    from roost.server.rest import address_of

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
    )
    address = address_of(listener, certfile is not None)
    stdout().print(
        f"{opened.location} is served at {address}; {address}/docs says how. Ctrl-C ends it.", soft_wrap=True
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        stderr().print("ending: what is being done is finished or paused")


def _begin(opened: Workspace) -> None:
    """Open the endpoints, whose live tests and probations then go on, and look at the triggers of retraining."""
    from roost.errors import RoostError

    for name in opened.endpoints.list():
        try:
            opened.endpoints.get(name)
        except RoostError as error:
            _log.warning("endpoint %r cannot be opened yet: %s", name, without_secrets(error.message))
    opened.retraining.start()


def _print_token(actor: str) -> None:
    from roost.server.rest import new_token

    token, line = new_token(actor)
    console: Any = stdout()
    console.print(f"token of {actor}, which is shown only now:", markup=False, soft_wrap=True)
    console.print(f"  {token}", markup=False, soft_wrap=True)
    console.print("line of the file of tokens:", soft_wrap=True)
    console.print(f"  {line}", markup=False, soft_wrap=True)
