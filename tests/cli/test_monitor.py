"""`roost monitor`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from roost.cli.monitor import rule_of
from roost.errors import InvalidArgument
from roost.lifecycle.monitor.rules import Rule
from roost.workspace import Workspace


@pytest.fixture
def watched_path(roost, workspace_path):
    """A workspace whose endpoint is watched, and answered some queries."""
    rules = ["--rule", "requests >= 1", "--rule", "latency_p95_ms > 60000 for 3 windows critical"]
    options = ["--option", "window_s=3600", "--webhook", "https://hooks.example/roost", "--json"]
    result = roost("monitor", "watch", workspace_path, "image-search", *rules, *options)
    assert result.exit_code == 0, result.stderr
    status = json.loads(result.stdout)
    assert [rule["name"] for rule in status["configuration"]["rules"]] == ["requests", "latency-p95-ms"]
    with Workspace(workspace_path) as workspace:
        endpoint = workspace.endpoints.get("image-search")
        for image in np.random.default_rng(3).random((5, 16), dtype=np.float32):
            endpoint.search(image, limit=3)
    return workspace_path


def test_what_was_seen_is_read_while_an_application_runs(roost, watched_path):
    with Workspace(watched_path):
        status = json.loads(roost("monitor", "status", watched_path, "image-search", "--json").stdout)
        report = json.loads(roost("monitor", "report", watched_path, "image-search", "--since", "2h", "--json").stdout)
        points = json.loads(roost("monitor", "history", watched_path, "image-search", "requests", "--json").stdout)
    assert status["configuration"]["window_s"] == 3600
    assert status["n_open_alerts"] in (0, 1), "the application's monitor looks at the rules when its time comes"
    assert report["deployments"][0]["deployment"] == "pca-v2"
    assert report["deployments"][0]["metrics"]["requests"] == 5
    assert sum(point["value"] for point in points) == 5


def test_what_is_not_named_stays_as_it_is(roost, watched_path):
    changed = json.loads(
        roost("monitor", "watch", watched_path, "image-search", "--option", "sample_rate=0.5", "--json").stdout
    )["configuration"]
    assert [rule["name"] for rule in changed["rules"]] == ["requests", "latency-p95-ms"]
    assert (changed["window_s"], changed["sample_rate"], len(changed["notify"])) == (3600, 0.5, 2)
    again = json.loads(roost("monitor", "watch", watched_path, "image-search", "--defaults", "--json").stdout)
    assert again["configuration"]["window_s"] == 60 and len(again["configuration"]["rules"]) == 9
    assert len(again["configuration"]["notify"]) == 1


def test_for_people(roost, watched_path):
    status = " ".join(roost("monitor", "status", watched_path, "image-search").stdout.split())
    assert "latency-p95-ms: latency_p95_ms > 60000 for 3 windows (critical)" in status
    assert "window_s=3600" in status and "drift_season=None" in status
    assert "pca-v2" in roost("monitor", "report", watched_path, "image-search").stdout
    since = ["--since", "2000-01-01T00:00:00+00:00", "--bucket", "86400", "--deployment", "pca-v2"]
    assert "pca-v2" in roost("monitor", "history", watched_path, "image-search", "requests", *since).stdout


def test_check_ends_with_1_where_an_alert_was_opened(roost, workspace_path):
    watch = ["image-search", "--option", "recall_every_s=0", "--option", "drift_every_s=0"]
    assert roost("monitor", "watch", workspace_path, *watch, "--rule", "requests >= 0").exit_code == 0
    result = roost("monitor", "check", workspace_path, "image-search", "--json")
    opened = json.loads(result.stdout)
    assert result.exit_code == (1 if opened else 0)
    alerts = json.loads(roost("monitor", "alerts", workspace_path, "--open", "--json").stdout)
    assert [alert["id"] for alert in alerts] == [alert["id"] for alert in opened]
    assert roost("monitor", "alerts", workspace_path, "--endpoint", "image-search").exit_code == 0


def test_unwatch(roost, watched_path):
    assert roost("monitor", "unwatch", watched_path, "image-search").exit_code == 0
    result = roost("monitor", "status", watched_path, "image-search")
    assert result.exit_code == 1 and "is not watched" in result.stderr
    assert roost("monitor", "unwatch", watched_path, "image-search", "--json").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("watch", "image-search", "--rule", "fast"), "not a rule"),
        (("watch", "image-search", "--rule", "recall < much"), "not a rule"),
        (
            ("watch", "image-search", "--option", "windows=3"),
            "'windows' is no option of a monitor; these are: baseline",
        ),
        (("watch", "image-search", "--option", "endpoint=a"), "'endpoint' is no option of a monitor"),
        (("watch", "image-search", "--email", "a@b.org"), "--email needs --email-from"),
        (
            ("watch", "image-search", "--email", "a@b.org", "--email-from", "c@b.org", "--email-option", "speed=1"),
            "speed",
        ),
        (("watch", "none"), "no endpoint 'none'"),
        (("history", "image-search", "speed"), "speed"),
        (("history", "image-search", "rate", "--since", "yesterday"), "not a time"),
        (("report", "none"), "no endpoint 'none'"),
    ],
)
def test_what_is_wrong_is_an_error(roost, workspace_path, arguments, said):
    command, *rest = arguments
    result = roost("monitor", command, workspace_path, *rest)
    assert result.exit_code == (1 if said.startswith("no endpoint") else 2)
    assert said in result.stderr


@pytest.mark.parametrize(
    "rule",
    [
        Rule("recall", "<", 0.9),
        Rule("latency_p95_ms", ">=", 50, for_windows=3, severity="critical"),
        Rule("rate", "<", 0.5, relative_to="hour_of_week"),
        Rule("drift.queries", "<=", 0.001, for_windows=2),
    ],
)
def test_a_rule_is_read_as_it_is_shown(rule):
    text = str(rule) if rule.severity == "warning" else f"{rule} {rule.severity}"
    assert rule_of(text) == rule


def test_a_rule_of_an_unknown_severity_is_refused():
    with pytest.raises(InvalidArgument, match="severity"):
        rule_of("recall < 0.9 dire")
