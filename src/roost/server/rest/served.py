"""What the routes share: the workspace, who asks, and what they may reach."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, Request

from roost.errors import InvalidArgument, InvalidData
from roost.lifecycle.actor import acting_as
from roost.lifecycle.models.model_version import ModelVersion
from roost.server.rest.background import Background
from roost.workspace import Workspace


@dataclass(frozen=True)
class Served:
    """What a server serves.

    Attributes:
        data_dir: the directory below which files may be read; None for no file.
    """

    workspace: Workspace
    background: Background
    data_dir: Path | None

    def path_below(self, name: str) -> Path:
        """Return the file or directory of a name below `data_dir`.

        Raises: InvalidArgument: there is no such file, it is elsewhere, or the server reads no files.
        """
        if self.data_dir is None:
            raise InvalidArgument("this server reads no files: start it with --data-dir DIRECTORY")
        root = self.data_dir.resolve()
        try:
            path = (root / name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise InvalidArgument(f"there is no {name!r} below the server's --data-dir") from error
        inside = sorted(path.glob("*.parquet")) if path.is_dir() else []
        if not all(one.resolve().is_relative_to(root) for one in (path, *inside)):
            raise InvalidArgument(f"there is no {name!r} below the server's --data-dir")
        return path


async def served(request: Request) -> Served:
    """Return what is served."""
    found: Served = request.app.state.served
    return found


async def workspace(request: Request) -> Workspace:
    """Return the workspace that is served."""
    return (await served(request)).workspace


async def as_caller(request: Request) -> AsyncIterator[None]:
    """Let a change be the caller's doing. What is only read, and traffic, leaves the workspace its own actor."""
    with acting_as(request.state.actor if request.method != "GET" else None):
        yield


async def caller(request: Request) -> str | None:
    """Return who asks; None where there are no tokens."""
    actor: str | None = request.state.actor
    return actor


Here = Annotated[Served, Depends(served)]
Ws = Annotated[Workspace, Depends(workspace)]
Caller = Annotated[str | None, Depends(caller)]
CHANGES = [Depends(as_caller)]


def allow(ws: Workspace, actor: str | None, action: str, endpoint: str) -> None:
    """Ask whether somebody's roles allow an action that the ledger does not record.

    Raises:
        PermissionDenied: they do not.
        EndpointNotFound: there is none of that name.
    """
    environment = ws.endpoints.get(endpoint).environment
    with acting_as(actor):
        ws.governance.check(action, endpoint, environment)


def version_named(ws: Workspace, name: str) -> ModelVersion:
    """Return a registered version by its name, as in "digits/2" or "digits/champion".

    Raises:
        InvalidArgument: the name is not of that form.
        ModelNotFound: there is no such version.
    """
    model, _, number = name.rpartition("/")
    if not model or not number:
        raise InvalidArgument(f"name a version as in 'digits/2' or 'digits/champion', not {name!r}")
    return ws.models.get(model, int(number) if number.isdecimal() else number)


def decoded(value: Any) -> Any:
    """Return content of a request for a model: lists of numbers as arrays of 64 bits, anything else as it is.

    Raises: InvalidData: lists of different lengths stand where an array needs equal ones.
    """
    if not isinstance(value, list):
        return value
    try:
        array = np.array(value)
    except (ValueError, OverflowError) as error:
        raise InvalidData(f"lists within a list of content must be equally long: {error}") from error
    return array.astype(np.float64) if array.dtype.kind in "biuf" and array.size else value


def decoded_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of a request with its content decoded."""
    return {name: decoded(value) if name == "content" else value for name, value in record.items()}
