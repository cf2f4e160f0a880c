from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn.linear_model import LinearRegression

from roost.lifecycle.live.test import LiveTest
from roost.lifecycle.models.predictors.sklearn import SklearnPredictor
from roost.lifecycle.monitor.monitors import Monitors
from roost.lifecycle.monitor.notify import Email
from roost.lifecycle.retrain import Cron, Drift, Gate, Plan
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.server.rest import create_app
from roost.workspace import Workspace
from tests.server.conftest import N_RECORDS, Digits, serving, wait_for, wait_until

PARQUET = {"kind": "parquet", "path": "digits.parquet"}
RECIPES = "tests.lifecycle.retrain.recipes"


def ok(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


def refused(response: httpx.Response, status: int, name: str) -> str:
    assert response.status_code == status, response.text
    assert response.json()["error"]["name"] == name
    return str(response.json()["error"]["message"])


def test_a_model_goes_live_over_http(client: httpx.Client, shared: Workspace, digits: Digits) -> None:
    fields = [{"name": "id", "type": "INT64", "is_primary": True}, {"name": "label", "type": "INT64"}]
    assert ok(client.get("/readyz")) == {"status": "ready"}
    made = ok(client.post("/v1/endpoints", json={"name": "walk", "metric": "L2", "fields": fields}), 201)
    assert (made["kind"], made["champion"]) == ("search", None)
    url = "/v1/endpoints/walk"
    refused(client.post(f"{url}/search", json={"content": digits.images[0].tolist()}), 409, "invalid_transition")

    job = ok(client.post(f"{url}/deployments", json={"model": "digits/1", "source": PARQUET, "name": "one"}), 202)
    assert (job["kind"], job["deployment"]) == ("backfill", "one")
    assert wait_for(client, job["id"])["state"] == "done"
    assert job["id"] in [one["id"] for one in ok(client.get("/v1/jobs", params={"endpoint": "walk"}))]
    switch = ok(client.post(f"{url}/promote", json={"deployment": "one", "reason": "the first"}))
    assert (switch["previous"], switch["champion"]) == (None, "one")

    # The next one is made from the rows that a collection stores.
    draft = ok(client.post(f"{url}/deployments/drafts", json={"model": "digits/2", "name": "two"}), 201)
    assert draft["state"] == "draft"
    vectors = shared.vectors
    vectors.create_collection("walk_rows", dimension=2)
    rows = [
        {"id": i, "vector": [0.0, 1.0], "image": digits.images[i].tolist(), "label": int(digits.labels[i])}
        for i in range(N_RECORDS)
    ]
    vectors.insert("walk_rows", rows)
    source = {"kind": "collection", "collection": "walk_rows", "content_field": "image", "fields": ["label"]}
    job = ok(client.post(f"{url}/deployments", json={"draft": "two", "source": source}), 202)
    assert wait_for(client, job["id"])["state"] == "done"
    assert [one["name"] for one in ok(client.get(f"{url}/deployments"))] == ["one", "two"]
    two = ok(client.get(f"{url}/deployments/two"))
    assert (two["state"], two["n_records"], two["model_version"]) == ("ready", N_RECORDS, 2)
    assert ok(client.get(f"{url}/deployments/two/rejected")) == []

    terms = {"guardrails": ["error_rate <= 0.5"], "max_queries": 10_000}
    evidence = {"precision": 0.97}
    ok(client.post(f"{url}/promote", json={"deployment": "two", "reason": "better", "evidence": evidence}))
    ok(client.post(f"{url}/rollback", json={"reason": "to see"}))
    ok(client.post(f"{url}/promote", json={"deployment": "two", "reason": "again", "probation": terms}))
    shown = ok(client.get(url))
    assert "walk" in ok(client.get("/v1/endpoints"))
    assert (shown["champion"], shown["model"]) == ("two", "digits/2")
    assert shown["policy"]["probation"]["deployment"] == "two"

    ok(client.post(f"{url}/deployments/one/retire", json={"reason": "old"}))
    assert ok(client.get(f"{url}/deployments/one/missed")) == []
    assert ok(client.post(f"{url}/deployments/one/purge", json={"reason": "old"}))["state"] == "retired"
    policy = ok(client.put(f"{url}/policy", json={"keep_retired": 2, "promote_winners": True}))["policy"]
    assert policy["keep_retired"] == 2

    history = ok(client.get("/v1/ledger/history", params={"endpoint": "walk"}))
    assert [period["deployment"] for period in history] == ["one", "two", "one", "two"]
    at = ok(client.get("/v1/ledger/at", params={"endpoint": "walk", "moment": history[1]["since"]}))
    assert (at["deployment"], at["entry"]["evidence"]["precision"]) == ("two", 0.97)
    [newest] = ok(client.get("/v1/ledger", params={"endpoint": "walk", "limit": 1}))
    assert (newest["actor"], newest["action"]) == ("server", "endpoint.policy")
    assert ok(client.get("/v1/ledger/verify"))["n_entries"] >= newest["seq"]


def test_traffic(client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint], digits: Digits) -> None:
    url = f"/v1/endpoints/{make_endpoint().name}"
    image = digits.images[3].tolist()
    answer = ok(client.post(f"{url}/search", json={"content": image, "limit": 2, "output_fields": ["label"]}))
    assert (answer["deployment"], len(answer["hits"]), answer["hits"][0]["id"]) == ("digits-v1", 2, 3)
    assert answer["hits"][0]["fields"] == {"label": int(digits.labels[3])}
    filtered = {"contents": digits.images[:2].tolist(), "filter": "id > 50", "limit": 3}
    answers = ok(client.post(f"{url}/search-batch", json=filtered))
    assert all(hit["id"] > 50 for one in answers for hit in one["hits"])
    assert [len(one["hits"]) for one in answers] == [3, 3]

    far = [16.0] * 64
    assert ok(client.post(f"{url}/write", json={"records": [{"id": 900, "content": far}]})) == {"n_written": 1}
    assert ok(client.post(f"{url}/search", json={"content": far, "limit": 1}))["hits"][0]["id"] == 900
    assert ok(client.post(f"{url}/delete", json={"keys": [900]})) == {"n_deleted": 1}
    assert ok(client.post(f"{url}/search", json={"content": far, "limit": 1}))["hits"][0]["id"] != 900

    said = {"query_id": answer["query_id"], "item": 3}
    assert ok(client.post(f"{url}/feedback", json=said)) == {"is_known": True}
    gains = {"query_id": answers[0]["query_id"], "gains": {str(answers[0]["hits"][0]["id"]): 0.5}, "kind": "label"}
    assert ok(client.post(f"{url}/feedback", json=gains)) == {"is_known": True}
    assert ok(client.post(f"{url}/feedback", json={"query_id": "none", "item": 3})) == {"is_known": False}
    refused(client.post(f"{url}/feedback", json={"query_id": "none"}), 422, "invalid_argument")


def test_predictions(client: httpx.Client, digits: Digits) -> None:
    body = {"name": "labels", "kind": "predict", "task": "classification"}
    ok(client.post("/v1/endpoints", json=body), 201)
    url = "/v1/endpoints/labels"
    check = (digits.images[:2] / 16).tolist()
    made = ok(client.post(f"{url}/deployments", json={"model": "labels/1", "check": check}), 201)
    ok(client.post(f"{url}/promote", json={"deployment": made["name"], "reason": "first"}))
    [first, _] = ok(client.post(f"{url}/predict", json={"rows": check}))
    assert first["value"] == int(digits.labels[0])
    assert set(first["probabilities"]) == {str(label) for label in range(10)}
    assert ok(client.post(f"{url}/feedback", json={"query_id": first["query_id"], "item": 0})) == {"is_known": True}
    assert "drawn" not in first
    refused(client.post(f"{url}/search", json={"content": check[0]}), 422, "invalid_argument")
    refused(client.post(f"{url}/deployments", json={"model": "labels/1", "source": PARQUET}), 422, "invalid_argument")
    refused(client.get(f"{url}/deployments/{made['name']}/rejected"), 422, "invalid_argument")


def test_a_label_of_a_regression_is_a_number(client: httpx.Client, shared: Workspace, digits: Digits) -> None:
    rows = digits.images[:50] / 16
    line = shared.models.register("line", SklearnPredictor(LinearRegression().fit(rows, digits.labels[:50])))
    endpoint = shared.endpoints.create("numbers", kind="predict", task="regression")
    endpoint.promote(endpoint.deploy(line), reason="first")
    url = "/v1/endpoints/numbers"
    [answer] = ok(client.post(f"{url}/predict", json={"rows": rows[:1].tolist()}))
    for wrong in (True, "many", 10**400):
        said = {"query_id": answer["query_id"], "item": wrong}
        refused(client.post(f"{url}/feedback", json=said), 422, "invalid_argument")
    assert ok(client.post(f"{url}/feedback", json={"query_id": answer["query_id"], "item": 1.5})) == {"is_known": True}


def test_an_answer_of_a_live_test_does_not_tell_what_the_test_keeps(
    client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint], shared: Workspace, digits: Digits
) -> None:
    endpoint = make_endpoint()
    endpoint.deploy(shared.models.get("digits", 2), digits.records(), verify=8)
    url = f"/v1/endpoints/{endpoint.name}"
    test = ok(
        client.post(f"{url}/test", json={"challengers": ["digits-v2"], "method": "shadow", "metric": "click"}), 201
    )
    answer = ok(client.post(f"{url}/search", json={"content": digits.images[7].tolist()}))
    assert answer["test_id"] == test["test_id"]
    assert "drawn" not in answer and "p_values" not in test
    ok(client.post(f"{url}/test/stop", json={"reason": "enough"}))


def test_rules_and_policies_are_answered(client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint]) -> None:
    rule = {"action": "retire", "environment": "lab", "n_approvals": 2, "by_others": False, "expires_hours": 4.0}
    assert ok(client.put("/v1/governance/rules", json=rule)) == rule
    endpoint = make_endpoint()
    shown = ok(client.put(f"/v1/endpoints/{endpoint.name}/policy", json={"keep_retired": 3}))
    assert (shown["policy"]["keep_retired"], shown["model"], shown["kind"]) == (3, "digits/1", "search")
    assert shown["policy"]["promote_winners"] is False  # nobody has said so, and this is production
    for allowed in (True, False):
        ok(client.put(f"/v1/endpoints/{endpoint.name}/policy", json={"promote_winners": allowed}))
        assert ok(client.get(f"/v1/endpoints/{endpoint.name}"))["policy"]["promote_winners"] is allowed
    assert make_endpoint("staging").policy.promote_winners
    assert ok(client.get("/healthz")) == {"status": "alive"}


def test_live_tests(client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint], shared: Workspace) -> None:
    endpoint = make_endpoint()
    url = f"/v1/endpoints/{endpoint.name}"
    assert ok(client.get(f"{url}/test")) == {"status": None}
    refused(client.post(f"{url}/test/stop"), 409, "invalid_transition")
    job = ok(client.post(f"{url}/deployments", json={"model": "digits/2", "source": PARQUET}), 202)
    wait_for(client, job["id"])
    ramp = [[0, 0.1], [3600, 0.5]]
    wanted = {"challengers": ["digits-v2"], "method": "split", "ramp": ramp, "guardrails": ["error_rate <= 0.2"]}
    started = ok(client.post(f"{url}/test", json=wanted), 201)
    assert (started["state"], started["challenger"]) == ("running", "digits-v2")
    assert isinstance(endpoint.test, LiveTest)
    assert ok(client.get(f"{url}/test"))["status"]["test_id"] == started["test_id"]
    refused(client.post(f"{url}/test", json=wanted), 409, "invalid_transition")
    assert ok(client.post(f"{url}/test/stop", json={"reason": "enough"}))["state"] == "stopped"
    assert [entry["action"] for entry in ok(client.get(f"{url}/tests"))] == ["test.start", "test.stop"]
    assert ok(client.get(f"{url}/test")) == {"status": None}
    past = ok(client.get(f"{url}/tests/{started['test_id']}"))
    assert (past["test_id"], past["state"], past["reason"]) == (started["test_id"], "stopped", "enough")
    again = ok(client.post(f"{url}/test", json=wanted), 201)
    assert ok(client.get(f"{url}/tests/{again['test_id']}"))["state"] == "running"
    assert ok(client.post(f"{url}/test/stop"))["state"] == "stopped"
    refused(client.get(f"{url}/tests/{again['test_id'] + 1}"), 404, "live_test_not_found")
    other = make_endpoint()
    refused(client.get(f"/v1/endpoints/{other.name}/tests/{started['test_id']}"), 404, "live_test_not_found")


def test_who_watches_nothing_is_told_the_route(
    client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint]
) -> None:
    url = f"/v1/monitors/{make_endpoint().name}"
    for answer in (client.get(url), client.delete(url), client.post(f"{url}/check")):
        refused(answer, 404, "monitor_not_found")
        assert f"PUT {url}" in answer.json()["error"]["message"]


def test_monitors(client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint], digits: Digits) -> None:
    pytest.importorskip("prometheus_client", reason="needs roost[monitoring]")
    name = make_endpoint().name
    rule = {"metric": "error_rate", "comparison": ">", "threshold": 0.5}
    watched = ok(client.put(f"/v1/monitors/{name}", json={"rules": [rule], "options": {"window_s": 30}}))
    assert watched["configuration"]["window_s"] == 30
    assert name in ok(client.get("/v1/monitors"))
    ok(client.post(f"/v1/endpoints/{name}/search", json={"content": digits.images[0].tolist()}))
    assert ok(client.get(f"/v1/monitors/{name}/report"))["figures"][0]["metrics"]["queries"] == 1
    [point] = ok(client.get(f"/v1/monitors/{name}/history", params={"metric": "queries"}))
    assert point["value"] == 1
    assert ok(client.post(f"/v1/monitors/{name}/check")) == []
    assert ok(client.get("/v1/alerts", params={"endpoint": name})) == []
    assert name in client.get("/metrics").text
    assert ok(client.get(f"/v1/monitors/{name}"))["n_open_alerts"] == 0
    for taken in ("notify", "rules", "endpoint", "self"):
        refused(client.put(f"/v1/monitors/{name}", json={"options": {taken: []}}), 422, "invalid_argument")
    assert name not in ok(client.delete(f"/v1/monitors/{name}"))


def test_whom_alerts_are_told_stays_what_another_process_has_made_it_meanwhile(
    client: httpx.Client,
    make_endpoint: Callable[[], SearchEndpoint],
    shared: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = make_endpoint().name
    url = f"/v1/monitors/{name}"
    ok(client.put(url, json={"rules": []}))
    watch, mail = Monitors.watch, Email("mail.example.org", "roost@example.org", ("ann@example.org",))

    def after_another(monitors: Monitors, *given: Any, **options: Any) -> Any:
        watch(monitors, name, notify=[mail])
        return watch(monitors, *given, **options)

    monkeypatch.setattr(Monitors, "watch", after_another)
    watched = ok(client.put(url, json={"options": {"window_s": 30}}))
    monkeypatch.undo()
    assert shared.monitors.status(name).configuration.notify == (mail,)
    assert (watched["configuration"]["window_s"], watched["configuration"]["rules"]) == (30, [])
    ok(client.delete(url))


def test_models_and_where_they_come_from(client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint]) -> None:
    name = make_endpoint().name
    assert {"digits", "labels"} <= set(ok(client.get("/v1/models")))
    assert [one["version"] for one in ok(client.get("/v1/models/digits"))] == [1, 2]
    version = ok(client.get("/v1/models/digits/versions/2"))
    assert version["dim"] == 16
    assert not {"files", "uri"} & version.keys()
    sections = {"sections": {"limitations": "digits only"}}
    assert "digits only" in ok(client.put("/v1/models/digits/versions/1/card", json=sections))["markdown"]
    assert ok(client.get("/v1/models/digits/versions/1/card"))["version"] == "digits/1"
    for taken in ("version", "self", "nothing"):
        wrong = {"sections": {taken: "text"}}
        refused(client.put("/v1/models/digits/versions/1/card", json=wrong), 422, "invalid_argument")
    refused(client.get("/v1/models/nothing"), 404, "model_not_found")

    origin = ok(client.get("/v1/governance/lineage", params={"subject": f"{name}/digits-v1"}))
    assert "digits/1" in str(origin)
    [data] = ok(client.get("/v1/governance/data"))
    affected = ok(client.get("/v1/governance/affected", params={"digest": data["digest"]}))
    assert f"{name}" in str(affected)
    marked = {"digest": data["digest"], "state": "bad", "reason": "labels were wrong"}
    ok(client.post("/v1/governance/data/mark", json=marked))
    assert ok(client.get("/v1/governance/data"))[0]["state"] == "bad"
    assert "findings" in ok(client.get("/v1/governance/debt"))

    subject = f"{name}/digits-v1"
    assert ok(client.post("/v1/governance/comments", json={"subject": subject, "text": "good"}), 201)["text"] == "good"
    assert [one["text"] for one in ok(client.get("/v1/governance/comments", params={"subject": subject}))] == ["good"]
    review = ok(client.post("/v1/governance/reviews", json={"subject": subject, "reason": "look"}), 201)
    url = f"/v1/governance/requests/{review['id']}/decision"
    assert ok(client.post(url, json={"decision": "approve"}))["state"] == "approved"
    assert [one["id"] for one in ok(client.get("/v1/governance/requests", params={"subject": subject}))] == [
        review["id"]
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/retraining/plans/none", "plan_not_found"),
        ("/v1/retraining/plans/none/history", "plan_not_found"),
        ("/v1/governance/affected?digest=none", "data_not_found"),
        ("/v1/governance/lineage?subject=none", "answer_not_found"),
        ("/v1/governance/lineage?subject=none/1", "model_not_found"),
    ],
)
def test_what_is_not_there_is_404(client: httpx.Client, path: str, name: str) -> None:
    refused(client.get(path), 404, name)


def test_what_is_changed_or_spoken_of_has_to_be_there(
    client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint]
) -> None:
    url, endpoint = "/v1/governance", make_endpoint().name
    decision = {"decision": "approve"}
    refused(client.post(f"{url}/requests/999999/decision", json=decision), 404, "request_not_found")
    refused(client.post(f"{url}/comments", json={"subject": "none", "text": "good"}), 404, "subject_not_found")
    role = {"principal": "bob", "role": "viewer"}
    refused(client.post(f"{url}/roles/revoke", json=role), 404, "role_not_found")
    refused(client.get(f"/v1/monitors/{endpoint}"), 404, "monitor_not_found")
    refused(client.delete(f"/v1/monitors/{endpoint}"), 404, "monitor_not_found")


def test_a_plan_of_retraining_runs_as_a_job(
    client: httpx.Client, shared: Workspace, make_endpoint: Callable[[], SearchEndpoint]
) -> None:
    endpoint = make_endpoint()
    plan = Plan(
        name=f"again-{endpoint.name}",
        endpoint=endpoint.name,
        model="digits",
        train=f"{RECIPES}:fails",
        evaluate=f"{RECIPES}:evaluate",
        records=f"{RECIPES}:records",
        gate=Gate("precision"),
        triggers=(Drift(), Cron("0 3 * * 1")),
    )
    shared.retraining.register(plan)
    url = f"/v1/retraining/plans/{plan.name}"
    assert plan.name in [one["name"] for one in ok(client.get("/v1/retraining/plans"))]
    shown = ok(client.get(url))
    assert shown["triggers"] == [{"kind": "drift", "rule": None}, {"kind": "cron", "expression": "0 3 * * 1"}]
    assert shown["enabled"] is True
    assert ok(client.put(f"{url}/enabled", json={"enabled": False, "reason": "by hand"}))["enabled"] is False
    job = ok(client.post(f"{url}/run", json={"reason": "a new season"}), 202)
    assert (job["kind"], job["request"]["plan"]) == ("retrain", plan.name)
    assert wait_for(client, job["id"])["state"] == "failed"
    [outcome] = ok(client.get(f"{url}/history"))
    assert outcome["job_id"] == job["id"]
    assert "there is no fresh data" in outcome["reason"]
    assert len(ok(client.post(f"{url}/cancel"))) == 1
    assert len(ok(client.post(f"{url}/cancel", json={"reason": "too dear"}))) == 1
    refused(client.post(f"{url}/run", json={"reason": ""}), 422, "invalid_argument")
    refused(client.post("/v1/retraining/plans/none/run", json={"reason": "x"}), 404, "plan_not_found")
    refused(client.post(f"/v1/jobs/{job['id']}/resume", json={}), 409, "invalid_transition")


def test_a_backfill_is_paused_resumed_and_cancelled(
    client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint]
) -> None:
    url = f"/v1/endpoints/{make_endpoint().name}/deployments"
    filling = {"batch_size": 5, "rate_limit": 20, "verify": 4}
    slow = {"model": "digits/2", "source": PARQUET, "name": "slow", "filling": filling}
    job = ok(client.post(url, json=slow), 202)
    refused(client.post(url, json=slow), 409, "already_exists")
    ok(client.post(f"/v1/jobs/{job['id']}/pause", json={"reason": "night"}))
    paused = wait_for(client, job["id"])
    assert paused["state"] == "paused"
    resumed = ok(client.post(f"/v1/jobs/{job['id']}/resume", json={}), 202)
    assert resumed["state"] == "running"
    ok(client.post(f"/v1/jobs/{job['id']}/cancel", json={}))
    assert wait_for(client, job["id"])["state"] == "cancelled"
    refused(client.post(f"/v1/jobs/{job['id']}/pause", json={}), 409, "invalid_transition")
    refused(client.get("/v1/jobs/999999"), 404, "job_not_found")


def test_a_server_that_stops_pauses_its_jobs(
    shared: Workspace, data_dir: Path, make_endpoint: Callable[[], SearchEndpoint]
) -> None:
    endpoint = make_endpoint()
    with serving(create_app(shared, data_dir=data_dir)) as address, httpx.Client(base_url=address) as client:
        slow = {"model": "digits/2", "source": PARQUET, "filling": {"batch_size": 5, "rate_limit": 20, "verify": 4}}
        job = ok(client.post(f"/v1/endpoints/{endpoint.name}/deployments", json=slow, timeout=30), 202)
    assert shared.jobs.get(job["id"]).state == "paused"
    assert endpoint.resume("digits-v2", verify=4).n_records == N_RECORDS


def test_searches_go_on_while_champions_change(
    client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint], digits: Digits
) -> None:
    url = f"/v1/endpoints/{make_endpoint().name}"
    job = ok(client.post(f"{url}/deployments", json={"model": "digits/2", "source": PARQUET}), 202)
    wait_for(client, job["id"])
    over, seen, failed = threading.Event(), set(), []

    def search(number: int) -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own:
            while not over.is_set():
                response = own.post(f"{url}/search", json={"content": digits.images[number].tolist(), "limit": 1})
                if response.status_code != 200 or response.json()["hits"][0]["id"] != number:
                    failed.append(response.text)
                else:
                    seen.add(response.json()["deployment"])

    threads = [threading.Thread(target=search, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            ok(client.post(f"{url}/promote", json={"deployment": "digits-v2", "reason": "forth"}))
            wait_until(lambda: "digits-v2" in seen)
            ok(client.post(f"{url}/rollback", json={"reason": "back"}))
            seen.clear()
            wait_until(lambda: "digits-v1" in seen)
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert failed == []


def test_files_outside_the_data_directory_cannot_be_read(
    client: httpx.Client, make_endpoint: Callable[[], SearchEndpoint], data_dir: Path, tmp_path: Path
) -> None:
    url = f"/v1/endpoints/{make_endpoint().name}/deployments"
    outside = tmp_path / "elsewhere.parquet"
    outside.write_bytes((data_dir / "digits.parquet").read_bytes())
    folder = data_dir / "folder"
    folder.mkdir()
    (folder / "link.parquet").symlink_to(outside)
    names = [
        str(outside),
        f"../{tmp_path.name}/elsewhere.parquet",
        "folder/link.parquet",
        "folder",
        "*.parquet",
        "a\0b",
    ]
    for name in names:
        body = {"model": "digits/2", "source": {"kind": "parquet", "path": name}}
        message = refused(client.post(url, json=body), 422, "invalid_argument")
        assert "below the server's --data-dir" in message
        assert str(data_dir) not in message


def test_no_file_is_read_without_a_data_directory(
    shared: Workspace, make_endpoint: Callable[[], SearchEndpoint]
) -> None:
    with serving(create_app(shared)) as address:
        body = {"model": "digits/2", "source": PARQUET}
        url = f"{address}/v1/endpoints/{make_endpoint().name}/deployments"
        assert "reads no files" in refused(httpx.post(url, json=body, timeout=30), 422, "invalid_argument")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "digits/1", "draft": "x", "source": PARQUET},
        {"model": "digits/1"},
        {"model": "digits", "source": PARQUET},
        {"model": "digits/1", "source": PARQUET, "check": [[1.0]]},
        {"model": "digits/1", "source": {"kind": "python", "path": "os:system"}},
        {"model": "digits/1", "source": PARQUET, "runner": "ray"},
    ],
)
def test_a_deployment_that_is_asked_for_wrongly_is_refused(
    client: httpx.Client, shared: Workspace, body: dict[str, Any]
) -> None:
    if "empty" not in shared.endpoints.list():
        shared.endpoints.create("empty")
    refused(client.post("/v1/endpoints/empty/deployments", json=body), 422, "invalid_argument")
    assert shared.endpoints.get("empty").deployments() == []
