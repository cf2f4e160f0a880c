"""`roost retrain`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import select

from roost.cli.retrain import plan_of
from roost.lifecycle.store import Store
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.retraining_tables import RetrainingPlanRow
from roost.lifecycle.store.tables import JobRow
from roost.workspace import Workspace

PLAN = {
    "name": "nightly",
    "endpoint": "image-search",
    "model": "pca",
    "train": "cli_shop:train",
    "evaluate": "cli_shop:evaluate",
    "records": "cli_shop:records",
    "params": {"n": 5},
    "gate": {"metric": "dim", "margin": 1.0},
    "triggers": [{"kind": "new_rows", "n_rows": 1000}],
    "budget": {"max_seconds": 120},
}


@pytest.fixture
def planned_path(roost, workspace_path, shop):
    (shop / "plan.json").write_text(json.dumps(PLAN))
    result = roost("retrain", "register", workspace_path, "plan.json", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["gate"]["margin"] == 1.0
    return workspace_path


def begin_a_run(path):
    """Note a run of the plan that another process is at."""
    store = Store(f"sqlite:///{path}/store.db")
    with store.write() as session:
        row = session.scalars(select(RetrainingPlanRow)).one()
        request = json.dumps({"plan": row.name, "trigger": "by hand"})
        job = JobRow(kind="retrain", state="running", digest="", endpoint_id=row.endpoint_id, request=request)
        job.updated_at = utc_now()
        session.add(job)
        session.flush()
        row.job_id = job.id
    store.close()


def test_a_plan_is_listed_disabled_enabled_and_removed(roost, planned_path):
    with Workspace(planned_path) as workspace:
        (plan,) = json.loads(roost("retrain", "list", planned_path, "--json").stdout)
        assert (plan["name"], plan["is_enabled"], plan["last_run"]) == ("nightly", True, None)
        assert "is disabled" in roost("retrain", "disable", planned_path, "nightly", "--reason", "holidays").stdout
        assert not json.loads(roost("retrain", "list", planned_path, "--json").stdout)[0]["is_enabled"]
        assert roost("retrain", "enable", planned_path, "nightly", "--reason", "back", "--json").exit_code == 0
        assert roost("retrain", "cancel", planned_path, "nightly").exit_code == 0
        begin_a_run(planned_path)
        assert roost("retrain", "cancel", planned_path, "nightly", "--reason", "too dear", "--json").exit_code == 0
        entry = workspace.ledger.entries()[-1]
        assert (entry.action, entry.subject, entry.reason) == ("retrain.cancel", "nightly", "too dear")
    assert "new_rows" in roost("retrain", "list", planned_path).stdout
    assert json.loads(roost("retrain", "check", planned_path, "--json").stdout) == []
    assert roost("retrain", "remove", planned_path, "nightly", "--reason", "done").exit_code == 0
    assert json.loads(roost("retrain", "list", planned_path, "--json").stdout) == []


@pytest.mark.slow
def test_a_run_ends_in_a_challenger_and_then_in_nothing_new(roost, planned_path):
    first = roost("retrain", "run", planned_path, "nightly", "--reason", "by hand", "--json")
    assert first.exit_code == 0, first.stdout + first.stderr
    outcome = json.loads(first.stdout)
    assert (outcome["state"], outcome["version"]) == ("challenger", "pca/3")
    assert roost("promote", planned_path, "image-search", outcome["deployment"], "--reason", "new").exit_code == 0
    second = roost("retrain", "run", planned_path, "nightly", "--reason", "again")
    assert second.exit_code == 1 and "unchanged" in second.stdout
    runs = json.loads(roost("retrain", "history", planned_path, "nightly", "--json").stdout)
    assert [run["state"] for run in runs] == ["challenger", "unchanged"]


def test_what_the_list_shows_is_a_plan(roost, planned_path, shop):
    listed = roost("retrain", "list", planned_path, "--json").stdout
    assert roost("retrain", "remove", planned_path, "nightly", "--reason", "it moves").exit_code == 0
    (shop / "listed.json").write_text(listed)
    assert roost("retrain", "register", planned_path, "listed.json").exit_code == 0
    assert roost("retrain", "list", planned_path, "--json").stdout == listed
    (shop / "two.json").write_text(json.dumps(json.loads(listed) * 2))
    assert "a list of 2: give one" in roost("retrain", "register", planned_path, "two.json").stderr


def test_a_mistyped_function_is_refused(roost, workspace_path, shop):
    (shop / "plan.json").write_text(json.dumps({**PLAN, "train": "cli_shop:trian"}))
    refused = roost("retrain", "register", workspace_path, "plan.json")
    assert refused.exit_code == 2
    assert "no function 'trian' (did you mean 'train'?" in " ".join(refused.stderr.split())


def test_the_plan_of_the_guide_is_a_plan():
    page = Path(__file__).parents[2] / "docs" / "retraining.md"
    (text,) = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert [trigger.kind for trigger in plan_of(text).triggers] == ["drift", "metric_below", "new_rows", "cron"]


def test_what_is_no_plan_is_an_error(roost, workspace_path, shop):
    for text in ("{", "[]", json.dumps({**PLAN, "gate": None}), json.dumps({**PLAN, "speed": 1})):
        (shop / "plan.json").write_text(text)
        result = roost("retrain", "register", workspace_path, "plan.json")
        assert result.exit_code == 2
        assert "this is not a plan of retraining" in result.stderr
    assert "no.json" in roost("retrain", "register", workspace_path, "no.json").stderr
    assert "nightly" in roost("retrain", "run", workspace_path, "nightly", "--reason", "x").stderr
    assert roost("retrain", "history", workspace_path, "nightly").exit_code == 1
