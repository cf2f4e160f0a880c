"""Any function as an embedder, named by its import path."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np

from roost.errors import Corruption, FingerprintMismatch, InvalidArgument, UnsafeModel
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.models.embedders.base import Embedder, FloatArray

_FILE = "callable.json"
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class CallableEmbedder(Embedder):
    """A function `f(batch, **config)` that returns (n, dim) numbers, stored as its import path.

    The code itself is not stored: whoever loads the model has it installed. The fingerprint covers the source file of
    the function's module, the configuration, and the version of the package that it comes with, so code that was
    changed is another model, and is refused as such. Modules that the function imports count by that version alone.
    """

    kind = "callable"

    def __init__(
        self,
        function: str | Callable[..., Any],
        dim: int,
        *,
        config: Mapping[str, Any] | None = None,
        trusted: Collection[str] = (),
    ) -> None:
        """Name a function.

        Args:
            function: `package.module:function`, or the function itself, which must be found again by its name.
            dim: length of the vectors.
            config: keyword arguments of every call; JSON can hold them.
            trusted: paths that may be imported. A path is imported only where it is in here, because importing runs
                code. A function that is passed itself was imported by the caller already.
        Raises:
            UnsafeModel: the path is not trusted; nothing was imported.
            InvalidArgument: there is no such function, or its source cannot be read.
        """
        if dim < 1:
            raise InvalidArgument(f"dim={dim} is not the length of a vector")
        self.path = function if isinstance(function, str) else path_of(function)
        self.config = dict(config or {})
        self._config_text = canonical_json(self.config)
        self._function = _imported(self.path, trusted) if isinstance(function, str) else function
        self._code = _code_of(self._function, self.path)
        self._dim = dim

    @property
    def trusted(self) -> tuple[str, ...]:
        """What was trusted to open it: what a process that is given its files has to trust."""
        return (self.path,)

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def fingerprint(self) -> str:
        text = canonical_json([self.path, self._config_text, self._code, self._dim])
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def embed(self, batch: Any) -> FloatArray:
        return np.asarray(self._function(batch, **self.config), dtype=np.float32)

    def save(self, directory: Path) -> None:
        content = {"function": self.path, "dim": self._dim, "config": self.config, "code": self._code}
        (directory / _FILE).write_text(json.dumps(content, indent=2, sort_keys=True))

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> CallableEmbedder:
        """Return the embedder that `save` wrote.

        Raises:
            UnsafeModel: the function's path is not trusted; nothing was imported.
            FingerprintMismatch: the function's code here is another than that of the registered model.
            Corruption: the file cannot be read.
        """
        try:
            content = json.loads((directory / _FILE).read_text())
            path, dim, config, code = (content[key] for key in ("function", "dim", "config", "code"))
        except (ValueError, KeyError, TypeError) as error:
            raise Corruption(f"the description of the function in {directory} cannot be read: {error}") from error
        loaded = cls(path, dim, config=config, trusted=trusted)
        if loaded._code != code:
            raise FingerprintMismatch(
                f"the code of {path} here is not that of the registered model: it was {_shown(code)}, it is "
                f"{_shown(loaded._code)}; install the version that was registered, or register the new one"
            )
        return loaded

    def __repr__(self) -> str:
        return f"CallableEmbedder({self.path!r}, dim={self.dim}, config={self._config_text})"


def path_of(function: Callable[..., Any]) -> str:
    """Return the path by which a function is imported.

    Raises: InvalidArgument: it is a lambda, is defined inside another function or in a script, or is no function.
    """
    path = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    module, _, name = path.partition(":")
    if not _PATH.fullmatch(path) or module == "__main__":
        raise InvalidArgument(f"{function!r} cannot be imported by a name: define it at the top of a module")
    if getattr(sys.modules.get(module), name, None) is not function:
        raise InvalidArgument(f"{path} is another object than the one that was given")
    return path


def _imported(path: str, trusted: Collection[str]) -> Callable[..., Any]:
    if not _PATH.fullmatch(path):
        raise InvalidArgument(f"{path!r} is not the path of a function: write package.module:function")
    if path not in trusted:
        raise UnsafeModel(
            f"the model is the function {path}, and importing it runs its code; "
            f"if you trust it, pass trusted=[{path!r}], to `register` for its files or to `Workspace` for a process "
            f"(--trust {path} on the command line)"
        )
    module, _, name = path.partition(":")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidArgument(f"there is no function {path}: {error}") from error
    if not callable(function):
        raise InvalidArgument(f"{path} is of type {type(function).__name__}, which cannot be called")
    found: Callable[..., Any] = function
    return found


def _code_of(function: Callable[..., Any], path: str) -> dict[str, str]:
    """Return the digest of the function's source file, and the version of the package that holds it."""
    module = path.partition(":")[0]
    try:
        source = Path(inspect.getsourcefile(sys.modules[module]) or "").read_bytes()
    except (OSError, TypeError, KeyError) as error:
        raise InvalidArgument(f"the source of {module} cannot be read, so changes of it could not be told") from error
    code = {"source": f"sha256:{hashlib.sha256(source).hexdigest()}"}
    top = module.partition(".")[0]
    for distribution in sorted(set(packages_distributions().get(top, []))):
        code[distribution] = version(distribution)
    return code


def _shown(code: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value[:19]}" for name, value in sorted(code.items()))
