from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import select, update

from roost.errors import InvalidArgument
from roost.lifecycle.deployments.filling import filling
from roost.lifecycle.governance.data import KnownData
from roost.lifecycle.governance.debt import DeploymentFacts, Finding, JobFacts, Limits, VersionFacts, find
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.monitoring_tables import AlertRow
from roost.lifecycle.store.tables import JobRow
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits

NOW = datetime(2024, 5, 6, tzinfo=timezone.utc)
LIMITS = Limits(unused_days=30, stale_days=180, unfinished_days=7)
RECENT = NOW - timedelta(days=1)

GOOD = KnownData("sha256:12", "file", "may", "", 10, "2024-05-01", "good", "")
BAD = replace(GOOD, state="bad", reason="wrong labels")
GONE = replace(GOOD, state="gone", reason="nothing is there")

VERSION = VersionFacts("digits/1", RECENT, "ann", True, [GOOD])
CHAMPION = DeploymentFacts(
    subject="shop/v1",
    model="digits/1",
    state="serving",
    is_champion=True,
    created_at=NOW - timedelta(days=400),
    registered_at=RECENT,
    owner="ann",
    newer=[],
    drift=[],
    is_watched=True,
    keeps_vectors=True,
    data=[GOOD],
)
OTHER = replace(CHAMPION, is_champion=False, state="ready", subject="shop/v2")
JOB = JobFacts(3, "backfill", "shop/v1", "done", "", NOW - timedelta(days=400))


def of(fact: VersionFacts | DeploymentFacts | JobFacts) -> tuple[Finding, ...]:
    """Return what is found of one thing alone."""
    versions = [fact] if isinstance(fact, VersionFacts) else []
    deployments = [fact] if isinstance(fact, DeploymentFacts) else []
    return find(versions, deployments, [fact] if isinstance(fact, JobFacts) else [], LIMITS, NOW).findings


@pytest.mark.parametrize(
    ("fact", "changes", "severity", "kind", "evidence"),
    [
        (VERSION, {"deployed": False, "registered_at": NOW - timedelta(days=31)}, "low", "never deployed", "31 days"),
        (VERSION, {"owner": None}, "low", "unknown owner", "no owner"),
        (VERSION, {"deployed": False, "data": [BAD]}, "low", "bad data", "which is bad: wrong labels"),
        (CHAMPION, {"registered_at": NOW - timedelta(days=181)}, "medium", "stale", "181 days ago"),
        (CHAMPION, {"registered_at": None}, "high", "unknown model", "not in the registry"),
        (CHAMPION, {"owner": None}, "medium", "unknown owner", "no owner"),
        (CHAMPION, {"newer": ["digits/2", "digits/3"]}, "low", "superseded", "digits/2, digits/3 came since"),
        (CHAMPION, {"drift": ["query drift"]}, "high", "drifted", "query drift"),
        (CHAMPION, {"is_watched": False}, "medium", "not watched", "no monitor"),
        (CHAMPION, {"data": [BAD]}, "high", "bad data", "known since 2024-05-01, which is bad: wrong labels"),
        (CHAMPION, {"data": [GONE]}, "medium", "data is gone", "which is gone: nothing is there"),
        (OTHER, {"data": [BAD]}, "medium", "bad data", "which is bad"),
        (OTHER, {"state": "building"}, "medium", "unfinished", "building for 400 days"),
        (OTHER, {"state": "draft"}, "medium", "unfinished", "draft for 400 days"),
        (OTHER, {"state": "failed"}, "low", "failed", "takes space"),
        (OTHER, {"state": "retired"}, "low", "space", "vectors are kept"),
        (JOB, {"state": "failed", "error": "no memory"}, "medium", "failed", "backfill failed: no memory"),
        (JOB, {"state": "interrupted", "error": "KeyboardInterrupt: "}, "medium", "unfinished", "backfill was interr"),
        (JOB, {"state": "paused"}, "medium", "unfinished", "paused and gave no sign of life for 400 days"),
    ],
)
def test_each_kind_of_debt_is_found_by_its_evidence(
    fact: Any, changes: dict[str, Any], severity: str, kind: str, evidence: str
) -> None:
    assert of(fact) == (), "nothing is wrong before"
    (found,) = of(replace(fact, **changes))
    assert (found.severity, found.kind) == (severity, kind)
    assert evidence in found.evidence
    assert found.advice


@pytest.mark.parametrize(
    "fact",
    [
        replace(VERSION, deployed=False, registered_at=NOW - timedelta(days=30)),
        replace(CHAMPION, registered_at=NOW - timedelta(days=180)),
        replace(OTHER, state="building", created_at=NOW - timedelta(days=7)),
        replace(OTHER, registered_at=None, owner=None, newer=["digits/3"], drift=["x"], is_watched=False),
        replace(OTHER, state="retired", keeps_vectors=False, data=[BAD]),
        replace(OTHER, state="failed", keeps_vectors=False),
        replace(JOB, state="running", updated_at=NOW - timedelta(days=7)),
        replace(JOB, state="cancelled"),
        replace(VERSION, data=[BAD]),
    ],
)
def test_what_is_within_the_limits_or_no_champion_s_is_no_debt(fact: Any) -> None:
    assert of(fact) == ()


def test_what_was_interrupted_is_advised_to_go_on() -> None:
    (backfill,) = of(replace(JOB, state="interrupted", error="KeyboardInterrupt: "))
    assert "KeyboardInterrupt" not in str(backfill)
    assert backfill.advice == "`roost backfill resume` goes on, `roost backfill cancel` gives it up"
    (retraining,) = of(replace(JOB, kind="retrain", state="interrupted"))
    assert retraining.advice == "Run it again"


def test_a_backfill_that_was_interrupted_and_given_up_is_no_debt(
    workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits
) -> None:
    def interrupted() -> Iterator[dict[str, Any]]:
        yield from digits.records(0, 20)
        raise KeyboardInterrupt

    version = workspace.models.register("digits", digits.embedder(4), owner="ann")
    for name in ("cancelled", "retired"):
        with pytest.raises(KeyboardInterrupt):
            empty_endpoint.deploy(version, interrupted(), name=name, batch_size=10)
    found = workspace.governance.debt().findings
    assert [(one.kind, one.evidence) for one in found] == [("unfinished", "backfill was interrupted")] * 2
    empty_endpoint.cancel("cancelled", "not needed")
    empty_endpoint.retire("retired", "not needed")
    assert workspace.governance.debt().findings == ()


def test_a_backfill_whose_process_was_killed_is_debt_at_once(
    workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits
) -> None:
    def interrupted() -> Iterator[dict[str, Any]]:
        yield from digits.records(0, 20)
        raise KeyboardInterrupt

    version = workspace.models.register("digits", digits.embedder(4), owner="ann")
    with pytest.raises(KeyboardInterrupt):
        empty_endpoint.deploy(version, interrupted(), batch_size=10)
    with workspace._context.store.write() as session:
        session.execute(update(JobRow).values(state="running"))  # as SIGKILL leaves it
        number = session.scalars(select(JobRow.deployment_id)).one()
    with filling(workspace._context, number).hold():
        assert workspace.governance.debt().findings == (), "somebody fills it"
    (found,) = workspace.governance.debt().findings
    assert (found.kind, found.evidence) == ("unfinished", "backfill was interrupted")
    assert "`roost backfill resume` goes on" in found.advice


def test_the_worst_comes_first() -> None:
    report = find(
        [replace(VERSION, owner=None)],
        [replace(CHAMPION, drift=["queries"], is_watched=False)],
        [replace(JOB, state="failed")],
        LIMITS,
        NOW,
    )
    assert [one.severity for one in report.findings] == ["high", "medium", "medium", "low"]
    assert report.worst == "high"
    assert str(report).splitlines()[0].startswith("high   drifted")
    assert report.to_dicts()[0]["subject"] == "shop/v1"
    assert "<table>" in report._repr_html_()


def test_no_debt_says_so() -> None:
    report = find([VERSION], [CHAMPION], [JOB], LIMITS, NOW)
    assert (report.worst, str(report)) == (None, "no debt was found")


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        Limits(stale_days=-1)


def test_the_debt_of_a_workspace(
    workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits, tmp_path: Path
) -> None:
    endpoint = empty_endpoint
    file = tmp_path / "training rows.npy"
    np.save(file, digits.images[:100])
    kept = workspace.data.describe(file)
    rows = workspace.data.describe(digits.images[:50], name="rows")
    first = workspace.models.register("digits", digits.embedder(4), data=kept, owner="ann")
    endpoint.promote(endpoint.deploy(first, digits.records(0, 60)), reason="first")
    second = workspace.models.register("digits", digits.embedder(8), data=rows, owner="ann")
    endpoint.promote(endpoint.deploy(second, digits.records(0, 60)), reason="second")
    endpoint.retire("digits-v1", reason="replaced")
    unused = workspace.models.register("digits", digits.embedder(6))
    endpoint.draft(unused, name="someday")
    name = endpoint.name
    strict = Limits(unused_days=0, unfinished_days=0)

    def found() -> dict[tuple[str, str], Finding]:
        return {(one.kind, one.subject): one for one in workspace.governance.debt(strict).findings}

    assert found().keys() == {
        ("never deployed", "digits/3"),
        ("unknown owner", "digits/3"),
        ("unknown owner", f"{name}/digits-v2"),
        ("superseded", f"{name}/digits-v2"),
        ("not watched", f"{name}/digits-v2"),
        ("unfinished", f"{name}/someday"),
        ("space", f"{name}/digits-v1"),
    }

    workspace.governance.mark_data(rows.digest, "bad", reason="labels of two classes were exchanged")
    workspace.monitors.watch(name, rules=[], window_s=1e7)
    endpoint.purge("digits-v1", reason="long ago")
    _note_an_alert_and_a_failed_job(workspace, endpoint)
    later = found()
    assert later["bad data", f"{name}/digits-v2"].severity == "high"
    assert "queries moved" in later["drifted", f"{name}/digits-v2"].evidence
    assert "moved before" not in later["drifted", f"{name}/digits-v2"].evidence, "that was the one before it"
    assert "out of memory" in next(one.evidence for key, one in later.items() if key[0] == "failed")
    assert ("not watched", f"{name}/digits-v2") not in later
    assert ("space", f"{name}/digits-v1") not in later


def _note_an_alert_and_a_failed_job(workspace: Workspace, endpoint: SearchEndpoint) -> None:
    now = utc_now()
    moved = {"digits-v2": "queries moved", "digits-v1": "moved before"}
    with workspace._context.store.write() as session:
        for deployment, rule in moved.items():
            alert = AlertRow(
                endpoint=endpoint.name,
                deployment=deployment,
                rule=rule,
                severity="warning",
                state="open",
                metric="drift.queries",
                value=0.001,
                message="",
                opened_at=now,
            )
            session.add(alert)
        session.add(
            JobRow(
                kind="retrain",
                endpoint_id=endpoint._router.endpoint_id,
                request='{"plan": "nightly"}',
                state="failed",
                error="out of memory",
                digest="",
                updated_at=now,
            )
        )


def test_a_file_that_is_not_there_any_more_is_gone(workspace: Workspace, digits: Digits, tmp_path: Path) -> None:
    folder = tmp_path / "fünf & 100%"
    folder.mkdir()
    file = folder / "rows.npy"
    np.save(file, digits.images[:20])
    data = workspace.data.describe(file)
    workspace.models.register("digits", digits.embedder(4), data=data, owner="ann")
    assert workspace.governance.debt().findings == ()
    file.unlink()
    (found,) = workspace.governance.debt().findings
    assert (found.kind, found.subject) == ("data is gone", "digits/1")
    assert str(file) in found.evidence
    assert [one.state for one in workspace.governance.data()] == ["good"], "looking changes nothing"


def test_a_collection_that_was_dropped_is_gone(workspace: Workspace, digits: Digits) -> None:
    name = f"rows_{uuid4().hex[:8]}"
    vectors = workspace.vectors
    vectors.create_collection(name, dimension=4)
    vectors.insert(name, [{"id": i, "vector": [float(i), 0.0, 0.0, 1.0]} for i in range(5)])
    data = workspace.data.describe(name)
    version = workspace.models.register("digits", digits.embedder(4), data=data, owner="ann")
    assert workspace.governance.debt().findings == ()
    vectors.drop_collection(name)
    (found,) = workspace.governance.debt().findings
    (known,) = workspace.governance.data()
    assert (found.severity, found.kind, found.subject) == ("low", "data is gone", str(version))
    assert f"known since {known.created_at[:19]}" in found.evidence
    assert f"there is no collection {name!r} in {workspace.location}" in found.evidence
    assert known.state == "good", "looking changes nothing"


def test_a_collection_that_is_known_by_its_alias_is_there(workspace: Workspace, digits: Digits) -> None:
    name = f"rows_{uuid4().hex[:8]}"
    workspace.vectors.create_collection(name, dimension=4)
    workspace.vectors.insert(name, [{"id": 1, "vector": [0.0] * 4}])
    workspace.vectors.create_alias(name, f"{name}_now")
    data = workspace.data.describe(f"{name}_now")
    workspace.models.register("digits", digits.embedder(4), data=data, owner="ann")
    assert workspace.governance.debt().findings == ()
    workspace.vectors.drop_alias(f"{name}_now")
    assert [one.kind for one in workspace.governance.debt().findings] == ["data is gone"]
    workspace.vectors.drop_collection(name)
