"""What a recipe of training gets, and the process that it runs in.

A recipe runs in a process of its own, so that it can be ended when its budget is used up and its
memory is given back. It is the user's own code, named by an import path that somebody registered;
the ledger says who. The new model comes back as files, by the same safe formats as every stored
model, and is loaded and checked like one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roost.errors import InvalidArgument, InvalidData, NotSupported
from roost.lifecycle.models.data_versions import DataVersion, DataVersions, Source
from roost.lifecycle.models.engine_address import EngineAddress
from roost.lifecycle.models.model import Model
from roost.lifecycle.models.model_files import ModelFiles, load_model, save_model

if TYPE_CHECKING:
    from roost.client import Client

_Data = TypeVar("_Data", bound=Source)

REQUEST, RESULT, LOG = "request.json", "result.json", "training.log"


@dataclass(frozen=True, slots=True)
class Request:
    """What the process is asked to do; written as JSON into its directory.

    Attributes:
        champion: files of the present champion's model, below `artifacts`; None without a champion.
        trusted: types beside the safe ones that the new model may hold.
        trusted_here: what the process that asks trusts, beside what was trusted for a model when it was registered.
    """

    plan: str
    endpoint: str
    train: str
    evaluate: str
    params: Mapping[str, Any]
    seed: int
    max_seconds: float
    artifacts: str
    champion: str | None
    trusted: tuple[str, ...]
    trusted_here: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        files: the new model's, below the process's directory.
        fingerprint: the new model's.
        challenger: what `evaluate` measured of the new model.
        champion: likewise of the champion on the same data; None without one.
        logged: name, value and step of the metrics that the recipe logged.
        data: what the recipe used, each version with what for: "train" or "evaluation".
    """

    files: str
    fingerprint: str
    challenger: Mapping[str, float]
    champion: Mapping[str, float] | None
    logged: list[tuple[str, float, int | None]]
    data: list[tuple[str, DataVersion]]

    def used_for(self, role: str) -> tuple[DataVersion, ...]:
        """Return what was used for it, each version once."""
        return tuple({one.digest: one for used, one in self.data if used == role}.values())


@dataclass(slots=True)
class Training:
    """What a recipe gets.

    Attributes:
        params: of the plan.
        seed: of the plan; seed everything that is random with it.
        directory: for files of its own; it is deleted afterwards.
        champion: the present champion's model; None without one.
        max_seconds: after which the process is ended, training and evaluation together.
    """

    plan: str
    endpoint: str
    params: Mapping[str, Any]
    seed: int
    directory: Path
    champion: Model | None
    max_seconds: float
    _started: float = field(default_factory=time.monotonic)
    _logged: list[tuple[str, float, int | None]] = field(default_factory=list)
    _data: list[tuple[str, DataVersion]] = field(default_factory=list)

    @property
    def seconds_left(self) -> float:
        """What is left of the budget."""
        return max(0.0, self.max_seconds - (time.monotonic() - self._started))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record measurements with the run."""
        self._logged += [(name, float(value), step) for name, value in metrics.items()]

    def used(self, data: _Data, name: str, role: str = "train") -> _Data:
        """Record the version of data that was trained or evaluated on, and return the data.

        Args:
            data: an array, a list of what JSON can hold, or the `pathlib.Path` of a file or a directory.
            role: "train" or "evaluation".
        Raises: InvalidArgument: the role is not one of these, or the data is something else.
        """
        if role not in ("train", "evaluation"):
            raise InvalidArgument(f"role must be train or evaluation, not {role!r}")
        if isinstance(data, str):
            raise InvalidArgument(f"give the data itself, or pathlib.Path({data!r}) if it is a file")
        self._data.append((role, DataVersions(_no_client, EngineAddress("")).describe(data, name)))
        return data


def _no_client() -> Client:
    raise NotSupported("a recipe has no client of the vector engine")


def imported(path: str) -> Any:
    """Return what an import path names.

    Raises: InvalidArgument: there is no such module, or nothing that can be called of that name in it.
    """
    module, _, name = path.partition(":")
    invalidate_caches()  # the module may have been written a moment ago
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidArgument(f"{path!r} cannot be imported: {error}") from error
    if not callable(found):
        raise InvalidArgument(f"{path!r} is not a function")
    return found


def run(directory: Path) -> None:
    """Carry out the request in a directory and write the result beside it."""
    raw = json.loads((directory / REQUEST).read_text(encoding="utf-8"))
    lists = {name: tuple(raw[name]) for name in ("trusted", "trusted_here")}
    request = Request(**{**raw, **lists})
    champion = None
    if request.champion is not None:
        files = ModelFiles.from_json(request.champion)
        champion = load_model(Path(request.artifacts), files, request.trusted_here)
    scratch = directory / "scratch"
    scratch.mkdir()
    training = Training(
        request.plan, request.endpoint, request.params, request.seed, scratch, champion, request.max_seconds
    )
    model = imported(request.train)(training)
    if not isinstance(model, Model):
        raise InvalidData(f"{request.train!r} gave {type(model).__name__}; a recipe gives an Embedder or a Predictor")
    evaluate = imported(request.evaluate)
    challenger = _metrics(evaluate(model, training), request.evaluate)
    present = _metrics(evaluate(champion, training), request.evaluate) if champion is not None else None
    made = save_model(directory, request.plan, model, request.trusted)
    result = Result(made.to_json(), model.fingerprint, challenger, present, training._logged, training._data)
    unfinished = directory / f"{RESULT}.part"
    unfinished.write_text(json.dumps(asdict(result)), encoding="utf-8")
    os.replace(unfinished, directory / RESULT)


def read_result(directory: Path) -> Result | None:
    """Return the result in a directory; None where the process did not come to one."""
    file = directory / RESULT
    if not file.is_file():
        return None
    raw = json.loads(file.read_text(encoding="utf-8"))
    logged = [(name, value, step) for name, value, step in raw["logged"]]
    data = [(role, DataVersion.from_dict(one)) for role, one in raw["data"]]
    return Result(**{**raw, "logged": logged, "data": data})


def _metrics(found: Any, path: str) -> dict[str, float]:
    if not isinstance(found, Mapping):
        raise InvalidData(f"{path!r} gave {type(found).__name__}; it gives metrics by their names")
    return {str(name): float(value) for name, value in found.items()}
