"""`roost deploy` and `roost backfill`."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roost.errors import JobStopped
from roost.lifecycle.backfill import Backfill
from roost.workspace import Workspace


@pytest.fixture
def parquet(shop):
    images = np.random.default_rng(3).random((120, 16), dtype=np.float32)
    content = pa.FixedSizeListArray.from_arrays(pa.array(images.ravel()), 16)
    pq.write_table(pa.table({"number": pa.array(range(120)), "pixels": content}), shop / "rows.parquet")
    return shop / "rows.parquet"


def test_deploy_from_parquet_after_an_estimate(roost, workspace_path, parquet):
    assert roost("endpoint", "create", workspace_path, "by-number", "--key", "number").exit_code == 0
    source = ["--parquet", parquet, "--key", "number", "--content", "pixels"]
    options = ["--index", "HNSW", "--index-param", "M=8", "--search-param", "ef=32", "--name", "small"]
    result = roost("deploy", workspace_path, "by-number", "pca/1", *source, *options, "--estimate", "--json")
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert (made["name"], made["state"], made["n_records"]) == ("small", "ready", 120)
    assert (made["index"]["index_type"], made["index"]["M"]) == ("HNSW", 8)
    assert made["search_params"] == {"ef": 32}
    assert "120 records in" in result.stderr


def test_a_draft_is_deployed_by_its_name(roost, workspace_path, shop):
    drafted = roost("deploy", workspace_path, "image-search", "pca/1", "--draft", "--name", "trial", "--json")
    assert json.loads(drafted.stdout)["state"] == "draft"
    result = roost("deploy", workspace_path, "image-search", "trial", "--records", "cli_shop:records")
    assert result.exit_code == 0, result.stderr
    assert "image-search/trial is ready with 120 records" in result.stdout


def test_a_function_answers_where_it_is_trusted(roost, workspace_path, shop):
    registered = roost("model", "register", workspace_path, "cut", "--from", "cli_shop:function")
    assert registered.exit_code == 0, registered.stderr
    deploy = ("deploy", workspace_path, "image-search", "cut/1", "--records", "cli_shop:records")
    refused = roost(*deploy)
    assert refused.exit_code == 1
    assert "--trust cli_shop:first_three" in refused.stderr
    made = roost(*deploy, "--trust", "cli_shop:first_three", "--json")
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["state"] == "ready"


def test_what_a_version_was_registered_with_is_trusted_from_then_on(roost, workspace_path, shop):
    trust = ("--trust", "cli_shop:first_three")
    registered = roost("model", "register", workspace_path, "cut", "--from", "cli_shop:function", *trust)
    assert registered.exit_code == 0, registered.stderr
    made = roost("deploy", workspace_path, "image-search", "cut/1", "--records", "cli_shop:records", "--json")
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.stdout)["state"] == "ready"


def test_an_endpoint_is_created_where_a_champion_is_trusted_by_its_process(roost, workspace_path, shop):
    trust = ("--trust", "cli_shop:first_three")
    roost("model", "register", workspace_path, "cut", "--from", "cli_shop:function")
    roost("deploy", workspace_path, "image-search", "cut/1", "--records", "cli_shop:records", *trust)
    promoted = roost("promote", workspace_path, "image-search", "cut-v1", "--reason", "shorter", *trust)
    assert promoted.exit_code == 0, promoted.stderr
    created = roost("endpoint", "create", workspace_path, "more", *trust)
    assert created.exit_code == 0, created.stderr


def test_a_predict_endpoint_needs_no_records(roost, workspace_path, shop):
    register = roost("model", "register", workspace_path, "classes", "--from", "cli_shop:predictor")
    assert register.exit_code == 0, register.stderr
    roost("endpoint", "create", workspace_path, "classify", "--kind", "predict", "--task", "classification")
    refused = roost("deploy", workspace_path, "classify", "classes/1", "--records", "cli_shop:records")
    assert refused.exit_code == 2 and "stores no records" in refused.stderr
    made = roost("deploy", workspace_path, "classify", "classes/1", "--json")
    assert json.loads(made.stdout)["state"] == "ready"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "name one source of records"),
        (("--collection", "a", "--records", "cli_shop:records"), "name one source of records"),
        (("--parquet", "nothing.parquet"), "no Parquet file"),
        (("--records", "cli_shop:records", "--index-param", "M"), "--index-param takes name=value"),
        (("--records", "cli_shop:records", "--index", "TREE"), "TREE"),
    ],
)
def test_what_cannot_be_deployed_is_an_error(roost, workspace_path, shop, options, said):
    result = roost("deploy", workspace_path, "image-search", "pca/1", "--name", "other", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_ctrl_c_says_how_to_go_on_and_resume_does(roost, workspace_path, shop):
    arguments = ["image-search", "pca/1", "--name", "again", "--batch-size", "40"]
    result = roost("deploy", workspace_path, *arguments, "--records", "cli_shop:interrupted")
    assert result.exit_code == 130
    assert f"roost backfill resume {workspace_path} image-search again" in result.stderr
    assert "Traceback" not in result.stderr
    (job, *_) = json.loads(roost("backfill", "list", workspace_path, "--json").stdout)
    assert (job["deployment"], job["total"]) == ("again", None)
    resumed = roost("backfill", "resume", workspace_path, "image-search", "again", "--records", "cli_shop:records")
    assert resumed.exit_code == 0, resumed.stderr
    assert "is ready with 120 records" in resumed.stdout


def test_a_backfill_is_given_up(roost, workspace_path, shop):
    roost("deploy", workspace_path, "image-search", "pca/1", "--name", "no", "--records", "cli_shop:interrupted")
    idle = roost("backfill", "pause", workspace_path, "image-search", "no")
    assert idle.exit_code == 1 and "nobody fills" in idle.stderr
    result = roost("backfill", "cancel", workspace_path, "image-search", "no", "--reason", "too slow", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "cancelled"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_deployment_whose_filling_never_began_is_given_up(roost, workspace_path, monkeypatch, as_json):
    def dies(*_):
        raise KeyboardInterrupt

    with Workspace(workspace_path) as workspace, monkeypatch.context() as patched:
        patched.setattr(Backfill, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            workspace.endpoints.get("image-search").deploy(workspace.models.get("pca", 1), [], name="never")
    arguments = ("image-search", "never", "--reason", "not needed", *(["--json"] if as_json else []))
    result = roost("backfill", "cancel", workspace_path, *arguments)
    assert result.exit_code == 0, result.output
    if as_json:
        given_up = {"endpoint": "image-search", "deployment": "never", "state": "cancelled", "n_done": 0}
        assert json.loads(result.stdout) == given_up
    else:
        assert result.stdout == "image-search/never is given up; its filling had not begun\n"
    with Workspace(workspace_path) as workspace:
        assert workspace.endpoints.get("image-search").deployment("never").state == "failed"


def test_pause_reaches_the_process_that_has_the_vectors_open(roost, workspace_path):
    images = np.random.default_rng(3).random((2_000, 16), dtype=np.float32)

    def slowly():
        for row, image in enumerate(images):
            time.sleep(0.005)
            yield {"id": row, "content": image}

    stopped = []
    with Workspace(workspace_path) as workspace:
        endpoint = workspace.endpoints.get("image-search")
        version = workspace.models.get("pca", 1)

        def fill():
            try:
                endpoint.deploy(version, slowly(), name="slow", batch_size=20)
            except JobStopped as error:
                stopped.append(error)

        filling = threading.Thread(target=fill)
        filling.start()
        until = time.monotonic() + 60
        while not any(job.n_done for job in workspace.jobs.list("backfill") if job.deployment == "slow"):
            assert time.monotonic() < until
            time.sleep(0.05)
        result = roost("backfill", "pause", workspace_path, "image-search", "slow", "--json")
        filling.join(60)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["wanted"] == "pause"
    assert len(stopped) == 1


def test_jobs_are_listed_and_shown(roost, workspace_path, shop):
    roost("deploy", workspace_path, "image-search", "pca/1", "--name", "odd", "--records", "cli_shop:with_a_bad_one")
    jobs = json.loads(roost("backfill", "list", workspace_path, "--endpoint", "image-search", "--json").stdout)
    assert [job["deployment"] for job in jobs] == ["odd", "pca-v2", "pca-v1"]
    shown = json.loads(roost("backfill", "show", workspace_path, jobs[0]["id"], "--json").stdout)
    assert (shown["n_done"], shown["n_rejected"], shown["state"]) == (21, 1, "done")
    assert "21 of 21, 1 set aside" in roost("backfill", "show", workspace_path, jobs[0]["id"]).stdout
    assert "odd" in roost("backfill", "list", workspace_path).stdout
    (rejected,) = json.loads(roost("backfill", "rejected", workspace_path, "image-search", "odd", "--json").stdout)
    assert rejected["key"] == "20"
    assert roost("backfill", "show", workspace_path, 99).exit_code == 1


def test_estimate_has_time_and_cost(roost, workspace_path, shop):
    source = ["--records", "cli_shop:records", "--sample", "60", "--batch-size", "10", "--price-per-1000", "2"]
    result = roost("backfill", "estimate", workspace_path, "image-search", "pca/1", *source, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["n_records"], found["n_sampled"]) == (120, 60)
    assert found["cost"] == pytest.approx(0.24)
    assert found["interval"][0] <= found["seconds"] <= found["interval"][1]
