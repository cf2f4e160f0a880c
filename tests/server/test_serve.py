from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from roost.cli.app import app
from roost.server.rest import Tokens
from roost.workspace import Workspace
from tests.server.conftest import Certificate

WAIT_S = 60.0


def roost(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"}, prog_name="roost")


@contextmanager
def served(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `roost serve` in a process of its own, and give its address."""
    source = str(Path(__file__).parents[2] / "src")
    process = subprocess.Popen(
        [sys.executable, "-m", "roost", "serve", *map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"https?://[\d.]+:\d+", line)
        assert found is not None, line or process.communicate()
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def made(path: Path) -> Path:
    """Return the path of a workspace, which is made."""
    Workspace(path).close()
    return path


def test_a_model_is_registered_beside_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    model = "def model():\n    return roost.SklearnEmbedder(PCA(2).fit(np.eye(4)))\n"
    imports = "import numpy as np\nfrom sklearn.decomposition import PCA\nimport roost\n"
    (tmp_path / "served_shop.py").write_text(imports + model)
    (tmp_path / "rows.txt").write_text("1\n2\n")
    with served(made(tmp_path / "shop")) as (_, address):
        told = ("--from", "served_shop:model", "--data", "rows.txt", "--actor", "ann")
        result = roost("model", "register", tmp_path / "shop", "digits", *told)
        assert result.exit_code == 0, result.output
        assert httpx.get(f"{address}/v1/models/digits/versions/1", timeout=WAIT_S).json()["version"] == 1
        [entry] = httpx.get(f"{address}/v1/ledger", timeout=WAIT_S).json()
        assert (entry["actor"], entry["subject"]) == ("ann", "digits/1")
        refused = roost("rollback", tmp_path / "shop", "search", "--reason", "slow")
        assert refused.exit_code == 1
        assert "over REST" in refused.output and "read_only" not in refused.output


def test_a_workspace_is_served_until_ctrl_c(tmp_path: Path) -> None:
    printed = roost("serve", "--new-token", "ann").output
    token, line = (text.strip() for text in printed.splitlines() if text.startswith("  "))
    (tmp_path / "tokens").write_text(line + "\n")
    with served(made(tmp_path / "shop"), "--tokens", tmp_path / "tokens", "--data-dir", tmp_path) as (process, address):
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{address}/v1/endpoints", timeout=WAIT_S).status_code == 401
        made_endpoint = httpx.post(f"{address}/v1/endpoints", json={"name": "one"}, headers=headers, timeout=WAIT_S)
        assert made_endpoint.status_code == 201
        [entry] = httpx.get(f"{address}/v1/ledger", headers=headers).json()
        assert entry["actor"] == "ann"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert token not in errors


def test_a_workspace_is_served_over_tls(tmp_path: Path, certificate: Certificate) -> None:
    files = ("--ssl-certfile", certificate.file, "--ssl-keyfile", certificate.key)
    with served(made(tmp_path / "shop"), *files) as (_, address):
        assert address.startswith("https://")
        trusting = ssl.create_default_context(cafile=certificate.file)
        with httpx.Client(base_url=address, verify=trusting, timeout=WAIT_S) as client:
            assert client.get("/v1/endpoints").json() == []
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{address}/healthz", timeout=WAIT_S)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(address.replace("https", "http"), timeout=WAIT_S)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ((), 2, "WORKSPACE"),
        (("shop", "--host", "0.0.0.0"), 2, "needs tokens"),
        (("shop", "--host", "0.0.0.0", "--allow-http"), 2, "needs tokens"),
        (("shop", "--host", "0.0.0.0", "--tokens", "../tokens"), 2, "would cross the network as they are"),
        (("shop", "--ssl-certfile", "nothing"), 1, "No such file"),
        (("shop", "--ssl-certfile", "../tokens"), 2, "--ssl-keyfile"),
        (("shop", "--ssl-keyfile", "nothing"), 2, "--ssl-certfile"),
        (("shop", "--data-dir", "nothing"), 2, "not a folder"),
        (("shop", "--tokens", "nothing"), 1, "No such file"),
        (("--new-token", "a\nb"), 2, "an actor is"),
        (("--new-token", "#a"), 2, "begin with #"),
        (("shopp", "--port", "0"), 1, "is not a workspace"),
    ],
)
def test_what_cannot_be_served_is_refused(
    arguments: tuple[str, ...], status: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokens").write_text(f"ann {'a' * 64}\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    result = roost("serve", *arguments)
    assert (result.exit_code, text in result.output) == (status, True), result.output
    assert list(here.iterdir()) == []


def test_a_fresh_token_is_let_in_by_its_line(tmp_path: Path) -> None:
    result = roost("serve", "--new-token", "ann")
    token, line = (text.strip() for text in result.output.splitlines() if text.startswith("  "))
    (tmp_path / "tokens").write_text(line)
    assert Tokens.from_file(tmp_path / "tokens").actor_of(token) == "ann"
    assert token not in line
