"""The life of a model over HTTP: see docs/rest.md."""

from roost.errors import MissingDependency

try:
    from roost.server.rest.app import create_app
    from roost.server.rest.auth import Tokens, check_reach, new_token
    from roost.server.rest.listen import address_of, check_certificate, listen
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("fastapi", "pydantic", "starlette", "uvicorn"):
        raise
    raise MissingDependency(f"the server needs more libraries ({error}): pip install 'roost[server]'") from error

__all__ = ["Tokens", "address_of", "check_certificate", "check_reach", "create_app", "listen", "new_token"]
