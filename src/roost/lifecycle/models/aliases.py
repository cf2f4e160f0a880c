"""The aliases of a registered model that several endpoints serve."""

from __future__ import annotations

from collections.abc import Mapping

SEPARATOR = "--"


def own_alias(alias: str, endpoint: str) -> str:
    """Return the alias that is one endpoint's alone, as in `champion--image_search`."""
    return f"{alias}{SEPARATOR}{endpoint}"


def aliases_of(
    present: Mapping[str, int], versions: Mapping[str, int | None], endpoint: str | None
) -> dict[str, int | None]:
    """Return what aliases shall name after a change: versions, or None for nothing.

    Args:
        present: the versions that the model's aliases name now.
        versions: what changes, by the plain alias.
        endpoint: whose change it is, by its identifier; None for plain aliases of nobody.
    """
    if endpoint is None:
        return dict(versions)
    wanted: dict[str, int | None] = {}
    for alias, version in versions.items():
        own = own_alias(alias, endpoint)
        wanted[own] = version
        others = {number for name, number in present.items() if name.startswith(f"{alias}{SEPARATOR}") and name != own}
        agreed = others | ({version} if version is not None else set())
        wanted[alias] = agreed.pop() if len(agreed) == 1 else None
    return wanted
