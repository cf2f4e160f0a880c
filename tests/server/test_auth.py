from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from roost.address import is_loopback
from roost.errors import InvalidArgument
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.server.rest import Tokens, check_reach, create_app, new_token
from roost.workspace import Workspace
from tests.server.conftest import Digits, check_schema, serving, wait_for

ACTORS = ("ann", "bob", "eve")


@pytest.fixture(scope="module")
def tokens() -> dict[str, str]:
    """The token of each actor."""
    return {actor: f"{actor}-{uuid4().hex}" for actor in ACTORS}


@pytest.fixture(scope="module")
def guarded(shared: Workspace, data_dir: Path, tokens: dict[str, str]) -> Iterator[str]:
    """A server of the same workspace that asks for tokens."""
    known = Tokens({hashlib.sha256(token.encode()).hexdigest(): actor for actor, token in tokens.items()})
    with serving(create_app(shared, known, data_dir)) as found:
        yield found


@pytest.fixture
def as_actor(guarded: str, tokens: dict[str, str]) -> Iterator[Callable[[str], httpx.Client]]:
    """Give a client that acts as somebody."""
    opened: list[httpx.Client] = []

    def give(actor: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {tokens[actor]}"}
        hooks = {"response": [check_schema]}
        opened.append(httpx.Client(base_url=guarded, headers=headers, timeout=60, event_hooks=hooks))
        return opened[-1]

    yield give
    for client in opened:
        client.close()


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", "Basic YW5uOmFubg==", "Bearer \u00e9", "bearer two words"]
)
def test_nothing_is_told_without_a_good_token(guarded: str, header: str | None) -> None:
    headers = {"Authorization": header.encode("latin-1")} if header is not None else {}
    for path in ("/v1/endpoints", "/v1/nothing", "/metrics", "/v1/ledger?limit=0"):
        response = httpx.get(guarded + path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["name"] == "unauthenticated"
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert httpx.get(guarded + path, headers=headers).status_code == 200


def test_a_change_is_the_callers_doing(
    as_actor: Callable[[str], httpx.Client], shared: Workspace, make_endpoint: Callable[[], SearchEndpoint]
) -> None:
    name = f"of-bob-{uuid4().hex[:6]}"
    assert as_actor("bob").post("/v1/endpoints", json={"name": name}).status_code == 201
    source = {"kind": "parquet", "path": "digits.parquet"}
    url = f"/v1/endpoints/{name}"
    job = as_actor("ann").post(f"{url}/deployments", json={"model": "digits/1", "source": source}).json()
    assert job["actor"] == "ann"
    wait_for(as_actor("ann"), job["id"])
    as_actor("bob").post(f"{url}/promote", json={"deployment": "digits-v1", "reason": "first"})
    said = [(entry.actor, entry.action) for entry in shared.ledger.entries(name)]
    assert said == [("bob", "endpoint.create"), ("ann", "deploy"), ("ann", "ready"), ("bob", "promote")]
    assert shared.actor == "server"


def test_roles_and_approvals_hold_over_http(
    as_actor: Callable[[str], httpx.Client],
    shared: Workspace,
    make_endpoint: Callable[..., SearchEndpoint],
    digits: Digits,
) -> None:
    endpoint = make_endpoint(environment="guarded")
    url = f"/v1/endpoints/{endpoint.name}"
    ann, bob, eve = as_actor("ann"), as_actor("bob"), as_actor("eve")
    shared.governance.grant("server", "admin")
    try:
        shared.governance.grant("ann", "admin")
        for principal, role in (("bob", "operator"), ("bob", "approver"), ("eve", "viewer")):
            grant = {"principal": principal, "role": role, "environment": "guarded"}
            assert ann.post("/v1/governance/roles", json=grant).status_code == 200
        assert [one["role"] for one in ann.get("/v1/governance/roles?principal=eve").json()] == ["viewer"]
        assert ann.post("/v1/governance/roles/revoke", json=grant).json() == []
        assert ann.post("/v1/governance/roles", json=grant).status_code == 200
        image = digits.images[0].tolist()
        assert eve.post(f"{url}/search", json={"content": image}).status_code == 200
        record = {"records": [{"id": 1, "content": image}]}
        denied = [
            eve.post("/v1/governance/roles", json={"principal": "eve", "role": "admin"}),
            eve.post(f"{url}/write", json=record),
            eve.post(f"{url}/delete", json={"keys": [1]}),
            eve.put(f"/v1/monitors/{endpoint.name}", json={}),
            eve.post(f"{url}/deployments/digits-v1/retire", json={"reason": "no"}),
            eve.put(f"{url}/policy", json={"promote_winners": True}),
            bob.post("/v1/governance/roles", json={"principal": "bob", "role": "admin"}),
        ]
        assert [response.status_code for response in denied] == [403] * len(denied)
        assert {response.json()["error"]["name"] for response in denied} == {"permission_denied"}
        assert "'eve' has viewer in guarded" in denied[1].json()["error"]["message"]
        assert bob.post(f"{url}/write", json=record).json() == {"n_written": 1}

        rule = {"action": "endpoint.policy", "environment": "guarded"}
        assert ann.put("/v1/governance/rules", json=rule).status_code == 200
        assert ann.put("/v1/governance/rules", json={**rule, "action": "retire"}).status_code == 200
        endpoint.promote(endpoint.deploy(shared.models.get("digits", 2), digits.records(), verify=4), reason="two")
        retire = {"reason": "old"}
        first = ann.post(f"{url}/deployments/digits-v1/retire", json=retire)
        assert (first.status_code, first.json()["error"]["name"]) == (403, "approval_required")
        asked = {"action": "retire", "subject": f"{endpoint.name}/digits-v1", "reason": "old"}
        number = ann.post("/v1/governance/requests", json=asked).json()["id"]
        decided = bob.post(f"/v1/governance/requests/{number}/decision", json={"decision": "approve"})
        assert decided.json()["state"] == "approved"
        assert ann.post(f"{url}/deployments/digits-v1/retire", json=retire).status_code == 200
    finally:
        with shared.acting_as("server"):
            for grant in [one for one in shared.governance.roles() if one.principal != "server"]:
                environment = None if grant.environment == "*" else grant.environment
                shared.governance.revoke(grant.principal, grant.role, environment)
            for actor in ("ann", "bob"):
                shared.governance.grant(actor, "operator")


def test_a_token_that_was_made_is_good(tmp_path: Path) -> None:
    token, line = new_token("ann")
    path = tmp_path / "tokens"
    path.write_text(f"# who may ask\n\n{line}\n")
    tokens = Tokens.from_file(path)
    assert token not in path.read_text()
    assert tokens.actor_of(token) == "ann"
    assert tokens.actor_of(token + "x") is None
    assert tokens.actor_of("") is None


@pytest.mark.parametrize("actor", ["Eve Adams", "  Eve  Adams ", "eve@example.org", f"eve {'a' * 64}", "Jörg #2"])
def test_a_token_is_that_of_any_name_without_the_blanks_around_it(tmp_path: Path, actor: str) -> None:
    token, line = new_token(actor)
    path = tmp_path / "tokens"
    path.write_text(f"{new_token('bob')[1]}\n{line}\n", encoding="utf-8")
    assert Tokens.from_file(path).actor_of(token) == actor.strip()


@pytest.mark.parametrize("line", ["ann", "ann secret-token", f"ann {'A' * 64}", "a" * 64, f" {'a' * 64}"])
def test_a_line_that_is_no_token_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{new_token('bob')[1]}\n{line}\n")
    with pytest.raises(InvalidArgument, match="line 2") as caught:
        Tokens.from_file(path)
    assert line.split()[-1] not in str(caught.value)


def test_a_token_of_two_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    digest = new_token("bob")[1].split()[-1]
    path.write_text(f"ann {digest}\nbob {digest}\n")
    with pytest.raises(InvalidArgument, match="line 2"):
        Tokens.from_file(path)
    path.write_text("# nobody\n")
    with pytest.raises(InvalidArgument, match="no token"):
        Tokens.from_file(path)
    with pytest.raises(InvalidArgument, match="SHA-256"):
        Tokens({"abc": "ann"})
    with pytest.raises(InvalidArgument, match="actor"):
        new_token("a\nb")
    for unfit in ("#ann", " # ann", "  "):
        with pytest.raises(InvalidArgument, match="must not be empty or begin with #"):
            new_token(unfit)


def test_other_machines_need_tokens_and_tls() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.0.0.9"):
        assert is_loopback(host)
        check_reach(host, None)
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.com", ""):
        assert not is_loopback(host)
        with pytest.raises(InvalidArgument, match="needs tokens"):
            check_reach(host, None, is_encrypted=True, allow_http=True)
        tokens = Tokens({"a" * 64: "ann"})
        with pytest.raises(InvalidArgument, match="--ssl-certfile"):
            check_reach(host, tokens)
        check_reach(host, tokens, is_encrypted=True)
        check_reach(host, tokens, allow_http=True)


@pytest.mark.parametrize(
    "headers",
    [{"Host": "roost.example.com"}, {"Origin": "http://evil.example.com"}, {"Origin": "null"}, {"Host": "["}],
)
def test_a_page_of_another_site_cannot_use_a_server_without_tokens(address: str, headers: dict[str, str]) -> None:
    response = httpx.post(f"{address}/v1/jobs/1/pause", json={}, headers=headers)
    assert (response.status_code, response.json()["error"]["name"]) == (403, "permission_denied")


def test_a_page_of_the_server_itself_may(address: str) -> None:
    assert httpx.get(f"{address}/v1/endpoints", headers={"Origin": address}).status_code == 200
    preflight = {"Origin": address, "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(f"{address}/v1/endpoints", headers=preflight).headers
