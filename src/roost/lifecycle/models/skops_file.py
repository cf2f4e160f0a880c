"""scikit-learn models as files: skops with an allow-list of types, never pickle."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from roost.errors import Corruption, MissingDependency, UnsafeModel

FILE = "model.skops"


def dump(model: Any, trusted: Collection[str]) -> bytes:
    """Return the content of a model's file.

    Raises:
        UnsafeModel: the model holds types that are not on the allow-list; the message names them.
        MissingDependency: skops is not installed.
    """
    stored: bytes = _skops().dumps(model)
    _refuse_untrusted(stored, trusted)
    return stored


def read(directory: Path, trusted: Collection[str]) -> tuple[Any, bytes]:
    """Return the model in a directory, and the content of its file.

    Raises:
        UnsafeModel: it holds types that are not on the allow-list; nothing of it was run.
        Corruption: the file is not one of skops.
    """
    stored = (directory / FILE).read_bytes()
    _refuse_untrusted(stored, trusted)
    return _skops().loads(stored, trusted=sorted(trusted)), stored


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise MissingDependency("storing scikit-learn models needs skops: pip install 'roost[lifecycle]'") from error
    return skops.io


def _refuse_untrusted(stored: bytes, trusted: Collection[str]) -> None:
    try:
        found: Iterable[str] = _skops().get_untrusted_types(data=stored)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Corruption(f"the stored model cannot be read: {error}") from error
    untrusted = sorted(set(found) - set(trusted))
    if untrusted:
        raise UnsafeModel(
            f"the model holds types that are not on the allow-list: {', '.join(untrusted)}; "
            f"if you trust the code behind them, pass trusted={untrusted}, or --trust for each on the command line"
        )


def digest(stored: bytes) -> str:
    """Return a digest of what the file means.

    The bytes of a skops file differ each time it is written: its schema and the names of its
    arrays carry memory addresses. They are replaced by the order in which they appear.
    """
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        schema = json.loads(archive.read("schema.json"))
        schema.pop("_skops_version", None)
        order: dict[int, int] = {}

        def normal(node: Any) -> Any:
            if isinstance(node, list):
                return [normal(item) for item in node]
            if not isinstance(node, dict):
                return node
            result: dict[str, Any] = {}
            for key, value in node.items():
                if key == "__id__":
                    result[key] = order.setdefault(value, len(order))
                elif key == "file":
                    result[key] = hashlib.sha256(archive.read(value)).hexdigest()
                else:
                    result[key] = normal(value)
            return result

        text = json.dumps(normal(schema), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
