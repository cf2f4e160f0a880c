"""The embedded client: the methods of `pymilvus.MilvusClient` over an engine in this process."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from roost.embedded.arguments import check_timeout
from roost.embedded.definitions import DefinitionMethods
from roost.embedded.explain import ExplainMethods
from roost.embedded.missing import with_missing_methods

__all__ = ["EmbeddedClient"]


@with_missing_methods
class EmbeddedClient(ExplainMethods, DefinitionMethods):
    """`pymilvus.MilvusClient` for a directory: the same methods, arguments, defaults, results and exceptions.

    Made by `roost.connect`. Any number of threads may share one, and any number of clients a directory.
    A method that the engine does not have yet raises NotSupported.
    """

    def get_server_type(self) -> str:
        """Return "milvus": the kind of server whose methods these are."""
        self._database()
        return "milvus"

    def get_server_version(self, timeout: float | None = None, detail: bool = False, **kwargs: Any) -> Any:
        """Return Roost's version; with `detail` a dict like a server's."""
        check_timeout(timeout)
        self._database()
        name = f"roost-{_version()}"
        if not detail:
            return name
        return {"version": name, "build_time": "", "git_commit": "", "go_version": "", "deploy_mode": "EMBEDDED"}


def _version() -> str:
    try:
        return version("roost")
    except PackageNotFoundError:
        return "source"
