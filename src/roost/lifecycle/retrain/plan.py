"""A plan of retraining: the recipe, what triggers it, its budget, and its gate. All are values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, ClassVar, TypeAlias, TypeVar

from cronsim import CronSim, CronSimError

from roost.errors import InvalidArgument
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.monitor.summary import check_metric

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_Value = TypeVar("_Value")

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class _Trigger:
    """What all triggers have."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger with its kind, as JSON values."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Drift(_Trigger):
    """An alert of drift since the plan ran last.

    Attributes:
        rule: the name of the monitor's rule; None for any rule about drift.
    """

    kind: ClassVar[str] = "drift"
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class MetricBelow(_Trigger):
    """A metric of the champion was below a floor in each of the last windows of the endpoint's monitor.

    Windows that were over when the plan ran last do not count: one figure starts one run.

    Attributes:
        metric: one of the monitor's, for example "recall" or "feedback_rate.click".
    """

    kind: ClassVar[str] = "metric_below"
    metric: str
    floor: float
    n_windows: int = 3

    def __post_init__(self) -> None:
        check_metric(self.metric)
        if not math.isfinite(self.floor):
            raise InvalidArgument(f"the floor of {self.metric!r} must be finite, not {self.floor}")
        if self.n_windows < 1:
            raise InvalidArgument(f"n_windows must be at least 1, not {self.n_windows}")


@dataclass(frozen=True, slots=True)
class NewRows(_Trigger):
    """So many rows more are in the champion's collection than when the plan ran last."""

    kind: ClassVar[str] = "new_rows"
    n_rows: int

    def __post_init__(self) -> None:
        if self.n_rows < 1:
            raise InvalidArgument(f"n_rows must be at least 1, not {self.n_rows}")


@dataclass(frozen=True, slots=True)
class Cron(_Trigger):
    """A schedule in cron's five fields, in UTC: "0 3 * * *" is every day at three."""

    kind: ClassVar[str] = "cron"
    expression: str

    def __post_init__(self) -> None:
        try:
            CronSim(self.expression, datetime.now(timezone.utc))
        except CronSimError as error:
            raise InvalidArgument(f"{self.expression!r} is not a schedule of cron: {error}") from error


Trigger: TypeAlias = Drift | MetricBelow | NewRows | Cron

_TRIGGERS: Mapping[str, type[Trigger]] = {cls.kind: cls for cls in (Drift, MetricBelow, NewRows, Cron)}


@dataclass(frozen=True, slots=True)
class Budget:
    """What a plan may use.

    Attributes:
        max_seconds: of one training and its evaluation; the process is ended after it.
        max_runs: how often the triggers may start it within `per_seconds`. A run by hand counts
            and is never refused.
    """

    max_seconds: float = 3600.0
    max_runs: int = 1
    per_seconds: float = DAY_S

    def __post_init__(self) -> None:
        if not (0.0 < self.max_seconds < math.inf and 0.0 < self.per_seconds < math.inf):
            raise InvalidArgument("max_seconds and per_seconds of a budget must be positive and finite")
        if self.max_runs < 1:
            raise InvalidArgument(f"max_runs must be at least 1, not {self.max_runs}")


@dataclass(frozen=True, slots=True)
class Gate:
    """What must hold of a new model, measured by the plan's `evaluate` on the same data as the champion.

    Attributes:
        metric: one of those that `evaluate` gives.
        at_least: the new model's metric must reach it; for a metric that is better when it is
            smaller, must not exceed it. None for no bound.
        margin: by how much the new model must be better than the champion; 0 lets an equal one pass,
            less than 0 one that is a little worse. None to leave the champion out.
    """

    metric: str
    at_least: float | None = None
    margin: float | None = 0.0
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not self.metric:
            raise InvalidArgument("a gate needs the name of the metric that decides")
        for name, bound in (("at_least", self.at_least), ("margin", self.margin)):
            if bound is not None and not math.isfinite(bound):
                raise InvalidArgument(f"{name} of a gate must be finite, not {bound}")

    def refusal(self, challenger: Mapping[str, float], champion: Mapping[str, float] | None) -> str | None:
        """Return why a new model does not pass; None where it passes.

        Args:
            champion: the champion's metrics on the same data; None without a champion.
        """
        found = challenger.get(self.metric)
        if found is None or not math.isfinite(found):
            return f"evaluate gave no finite {self.metric!r} (it gave: {', '.join(sorted(challenger)) or 'nothing'})"
        sign = 1.0 if self.higher_is_better else -1.0
        if self.at_least is not None and sign * found < sign * self.at_least:
            return f"{self.metric} is {found:.4g}; {self.at_least:.4g} is needed"
        if self.margin is None or champion is None:
            return None
        present = champion.get(self.metric)
        if present is None or not math.isfinite(present):
            return f"evaluate gave no finite {self.metric!r} for the champion"
        gain = sign * (found - present)
        if gain < self.margin:
            return (
                f"{self.metric} is {found:.4g} and the champion's is {present:.4g} on the same data: better by "
                f"{gain:.4g}, and {self.margin:.4g} is needed"
            )
        return None


@dataclass(frozen=True, slots=True)
class Plan:
    """How and when a model is trained again.

    Attributes:
        endpoint: whose challenger it makes.
        model: the registered model that gets a new version.
        train: import path, "package.module:function", of the recipe; it takes a `Training` and gives the model.
        evaluate: import path of what measures a model: it takes the model and the `Training`, and gives metrics.
        records: import path of what gives the records to embed; for an endpoint that is searched.
        params: for the recipe, as JSON can hold them.
        trusted: types beside the safe ones that the new model may hold.
        deploy: keywords of `deploy`, for example index and search_params.
        live_test: keywords of the live test that the challenger begins; None for none.
    """

    name: str
    endpoint: str
    model: str
    train: str
    evaluate: str
    gate: Gate
    records: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()
    seed: int = 0
    triggers: tuple[Trigger, ...] = ()
    budget: Budget = Budget()
    deploy: Mapping[str, Any] = field(default_factory=dict)
    live_test: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for what in ("train", "evaluate", "records"):
            path = getattr(self, what)
            if path is not None and not (isinstance(path, str) and _IMPORT_PATH.fullmatch(path)):
                raise InvalidArgument(f"{what} must be an import path such as 'shop.models:{what}', not {path!r}")

    def to_json(self) -> str:
        """Return the plan as text.

        Raises: InvalidArgument: params, deploy or live_test hold something that JSON cannot.
        """
        raw = asdict(self)
        raw["triggers"] = [trigger.to_dict() for trigger in self.triggers]
        return canonical_json(raw)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan that a text says; what has a default may be left out.

        Raises: InvalidArgument: it is not JSON or not a plan; the message names what is missing or unknown.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise InvalidArgument(f"a plan is written as JSON: {error}") from error
        values = {**_checked(cls, raw, "a plan")}
        values["gate"] = _made(Gate, values["gate"], "the gate")
        values["budget"] = _made(Budget, values.get("budget", {}), "the budget")
        triggers = _list(values.get("triggers", []), "triggers")
        values["triggers"] = tuple(_trigger_of(one, f"trigger {number}") for number, one in enumerate(triggers, 1))
        values["trusted"] = tuple(_list(values.get("trusted", []), "trusted"))
        return _built(cls, values, "a plan")


def _trigger_of(raw: object, what: str) -> Trigger:
    kind = str(raw.get("kind")) if isinstance(raw, Mapping) else ""
    if not isinstance(raw, Mapping) or kind not in _TRIGGERS:
        raise InvalidArgument(f"{what} is an object whose kind is one of {', '.join(_TRIGGERS)}, not {raw!r}")
    return _made(_TRIGGERS[kind], {name: value for name, value in raw.items() if name != "kind"}, f"{what} ({kind})")


def _made(kind: type[_Value], raw: object, what: str) -> _Value:
    return _built(kind, _checked(kind, raw, what), what)


def _built(kind: type[_Value], values: Mapping[str, Any], what: str) -> _Value:
    try:
        return kind(**values)
    except (TypeError, ValueError, AttributeError) as error:  # a text in the place of a number, and the like
        raise InvalidArgument(f"{what} holds a value of the wrong kind: {error}") from error


def _checked(kind: type[Any], raw: object, what: str) -> Mapping[str, Any]:
    """Return the values of an object in JSON, after a look at their names."""
    known = {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind)}
    needed = [name for name, is_needed in known.items() if is_needed]
    rest = [name for name in known if name not in needed]
    there_are = f"it needs {', '.join(needed) or 'nothing'}, and may have {', '.join(rest) or 'nothing else'}"
    if not isinstance(raw, Mapping):
        raise InvalidArgument(f"{what} is an object, not {raw!r}; {there_are}")
    missing, unknown = [name for name in needed if name not in raw], [name for name in raw if name not in known]
    if missing or unknown:
        said = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has no {', '.join(unknown)}"] * bool(unknown)
        raise InvalidArgument(f"{what} {' and '.join(said)}: {there_are}")
    return raw


def _list(raw: object, what: str) -> list[Any]:
    if not isinstance(raw, list):
        raise InvalidArgument(f"{what} of a plan is a list, not {raw!r}")
    return raw
