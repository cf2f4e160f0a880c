"""What `watch` is asked for, as it is stored."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from roost.errors import InvalidArgument
from roost.lifecycle.drift import alpha_for_budget, detector_names, exact_detector_names
from roost.lifecycle.drift.corrections import MONTH_S
from roost.lifecycle.drift.permutation import MAX_PERMUTATIONS
from roost.lifecycle.monitor.notify import Channel, Log, channel_from_dict
from roost.lifecycle.monitor.rules import Rule, check_rules, rules_of
from roost.lifecycle.monitor.seasons import SEASONS, Season

DRIFT_KINDS = ("queries", "data", "norms", "training", "predictions")
"""Query vectors against the first traffic's; written vectors against the collection's; the norms of the query
vectors; query vectors against the training snapshot's; predictions against the first ones."""

FALSE_ALARMS_A_MONTH = 1.0
"""For each kind of drift and deployment, where nothing changes."""

COARSEST_ALPHA = 0.05

TESTS_TOGETHER = 4
"""Tests of one window, of several processes or seasons, that the finest alpha can be corrected for."""

FINEST_EXACT_ALPHA = 1e-5
"""The finest level of a drift test, whatever tells it."""


@dataclass(frozen=True)
class Configuration:
    """How an endpoint is watched.

    Attributes:
        window_s: statistics are kept for windows of this length.
        sample_rate: share of the requests whose vectors are looked at; None for as many as are needed.
        recall_every_s: how often recall is measured; 0 for never. It reads the whole collection.
        recall_queries: how many recent queries it is measured on.
        recall_max_rows: read at most so many rows for it; a larger collection is compared with a wide search.
        drift_every_s: how often drift is tested; 0 for never. Fewer than `min_rows` sampled rows wait for more.
        drift_rows: sampled rows of a test, at most.
        drift_alpha: rate of false alarms of one test, all its detectors together; 0 for the one at which a month has
            one false alarm.
        detectors: of `roost.lifecycle.drift.detector_names()`.
        baseline_rows: how much of the first traffic is the baseline of what comes later.
        drift_season: compare queries, norms and predictions with those of the same "hour", "weekday" or "hour_of_week"
            (UTC). Each season has a baseline of its own, of `baseline_rows`, which are kept in memory until then.
        cooldown_s: an alert of a rule that was told less than this ago is recorded and not told again.
    """

    rules: tuple[Rule, ...]
    notify: tuple[Channel, ...] = (Log(),)
    window_s: float = 60.0
    sample_rate: float | None = None
    recall_every_s: float = 900.0
    recall_queries: int = 50
    recall_max_rows: int = 200_000
    drift_every_s: float = 3_600.0
    drift_rows: int = 500
    min_rows: int = 50
    drift_alpha: float = 0.0
    detectors: tuple[str, ...] = ("ks", "mmd")
    baseline_rows: int = 2_000
    drift_season: Season | None = None
    cooldown_s: float = 3_600.0

    def __post_init__(self) -> None:
        for name in ("window_s", "recall_every_s", "drift_every_s", "cooldown_s", "drift_alpha"):
            if not getattr(self, name) >= 0:
                raise InvalidArgument(f"{name} is not less than 0")
        if not self.drift_alpha < 1:
            raise InvalidArgument(f"drift_alpha is less than 1, not {self.drift_alpha}")
        if self.window_s < 1:
            raise InvalidArgument(f"window_s is at least 1, not {self.window_s}")
        if self.sample_rate is not None and not 0 <= self.sample_rate <= 1:
            raise InvalidArgument(f"sample_rate is between 0 and 1, not {self.sample_rate}")
        for name, least in (("recall_queries", 1), ("min_rows", 10), ("baseline_rows", 40), ("recall_max_rows", 0)):
            if getattr(self, name) < least:
                raise InvalidArgument(f"{name} is at least {least}, not {getattr(self, name)}")
        if self.drift_rows < self.min_rows:
            raise InvalidArgument("drift_rows is not less than min_rows")
        if self.drift_season is not None and self.drift_season not in SEASONS:
            raise InvalidArgument(f"drift_season {self.drift_season!r} is not known; use one of {', '.join(SEASONS)}")
        unknown = sorted(set(self.detectors) - set(detector_names()))
        if unknown or not self.detectors:
            raise InvalidArgument(f"detectors are of {', '.join(detector_names())}, not {', '.join(unknown) or 'none'}")
        check_rules(self.rules)

    @property
    def false_alarms_a_month(self) -> float:
        """Expected of each kind of drift and deployment, where nothing changes."""
        return self.drift_alpha * MONTH_S / self.drift_every_s if self.drift_every_s > 0 else 0.0

    def to_json(self) -> str:
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["rules"] = [rule.to_dict() for rule in self.rules]
        plain["notify"] = [channel.to_dict() for channel in self.notify]
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Configuration:
        stored: dict[str, Any] = json.loads(text)
        stored["rules"] = tuple(Rule.from_dict(rule) for rule in stored["rules"])
        stored["notify"] = tuple(channel_from_dict(channel) for channel in stored["notify"])
        stored["detectors"] = tuple(stored["detectors"])
        return cls(**stored)


OPTIONS = {field.name: field.default for field in fields(Configuration) if field.name not in ("rules", "notify")}
"""What `watch` takes beside rules and channels, and the defaults."""


def configuration(
    rules: Sequence[Rule | str] | None,
    notify: Sequence[Channel] | None,
    options: Mapping[str, Any],
    present: Configuration | None = None,
) -> Configuration:
    """Return a checked configuration.

    Args:
        rules: or texts that `Rule.parse` takes; None for those of `present`.
        notify: None for those of `present`.
        options: by name; those that are not given are those of `present`.
        present: what is to be changed; None for the defaults. What follows from its options (the level of drift tests,
            the default rules) follows from the new ones.
    Raises: InvalidArgument: something in it is not allowed.
    """
    for channel in notify or ():
        if not isinstance(channel, Channel):
            raise InvalidArgument(f"notify= takes Log(), Webhook(...) and Email(...), not {channel!r}")
    check_options(options)
    try:
        merged = {**(_said(present) if present is not None else {}), **options}
        merged["detectors"] = tuple(merged.get("detectors", Configuration.detectors))
        merged["drift_alpha"] = float(merged.get("drift_alpha") or 0) or _alpha_of(merged)
        _check_alpha(merged)
        chosen: Sequence[Rule | str] | None = rules
        if rules is None and present is not None and present.rules != default_rules(present.drift_alpha):
            chosen = present.rules
        told = notify if notify is not None else present.notify if present is not None else (Log(),)
        ruled = rules_of(chosen) if chosen is not None else default_rules(merged["drift_alpha"])
        return Configuration(rules=ruled, notify=tuple(told), **merged)
    except InvalidArgument:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"watch does not take that: {error}") from error


def check_options(names: Iterable[str]) -> None:
    """Raises: InvalidArgument: one of them is no option of a monitor."""
    unknown = sorted(set(names) - set(OPTIONS))
    if unknown:
        raise InvalidArgument(f"{unknown[0]!r} is no option of a monitor; these are: {', '.join(sorted(OPTIONS))}")


def finest_alpha(detectors: Sequence[str]) -> float:
    """Return the least level that detectors together can tell.

    With random windows that is bounded by MAX_PERMUTATIONS. Where all detectors have an exact law it is
    FINEST_EXACT_ALPHA: predicted classes are tested beside them with random windows, which are cheap, but not free.
    Exact ones beside others count: the p-values of all are corrected for the number of all.
    """
    if set(detectors) <= set(exact_detector_names()):
        return FINEST_EXACT_ALPHA
    return len(detectors) * TESTS_TOGETHER / MAX_PERMUTATIONS


def _said(present: Configuration) -> dict[str, Any]:
    """Return the options, without a drift_alpha that follows from the others."""
    options = {name: getattr(present, name) for name in OPTIONS}
    if present.drift_alpha == _alpha_of(options):
        del options["drift_alpha"]
    return options


def _alpha_of(options: Mapping[str, Any]) -> float:
    """Return the level of each drift test at which there are FALSE_ALARMS_A_MONTH."""
    every_s = float(options.get("drift_every_s", Configuration.drift_every_s))
    if not 0 < every_s < COARSEST_ALPHA * MONTH_S / FALSE_ALARMS_A_MONTH:
        return COARSEST_ALPHA
    return alpha_for_budget(FALSE_ALARMS_A_MONTH, window_s=every_s)


def _check_alpha(options: Mapping[str, Any]) -> None:
    """Raises: InvalidArgument: the level is finer than a bounded number of random windows can tell."""
    alpha, finest = options["drift_alpha"], finest_alpha(options["detectors"])
    if alpha >= finest or not options.get("drift_every_s", 1):
        return
    every_s = float(options.get("drift_every_s", Configuration.drift_every_s))
    raise InvalidArgument(
        f"drift tests with {' and '.join(options['detectors'])} tell no level finer than {finest:g}, and one every "
        f"{every_s:g} s would be at {alpha:.2g}: {FALSE_ALARMS_A_MONTH:g} false alarm a month takes a drift_every_s of "
        f"{math.ceil(finest * MONTH_S / FALSE_ALARMS_A_MONTH)} or more; or choose a level, as drift_alpha={finest:g}, "
        f"with {finest * MONTH_S / every_s:.0f} false alarms a month of each kind at this drift_every_s"
    )


def default_rules(drift_alpha: float) -> tuple[Rule, ...]:
    """Return the rules of an endpoint that was given none."""
    drift = tuple(Rule(f"drift.{kind}", "<=", drift_alpha) for kind in DRIFT_KINDS)
    return (
        Rule("error_rate", ">", 0.01, severity="critical"),
        Rule("empty_rate", ">", 0.05),
        Rule("low_score_rate", ">", 0.1, for_windows=3),
        Rule("recall", "<", 0.9, severity="critical"),
        *drift,
    )
