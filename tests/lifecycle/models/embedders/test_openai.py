"""Against a small real server of HTTP that speaks the protocol, and fails as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roost.errors import (
    Corruption,
    DimensionMismatch,
    InvalidArgument,
    InvalidData,
    ModelUnavailable,
    NotFinite,
)
from roost.lifecycle.models.embedders.base import embed_checked
from roost.lifecycle.models.embedders.openai import OpenAIEmbedder
from roost.lifecycle.models.retries import Retries

KEY = "sk-very-secret"
HANGS = object()
"""The service takes the request and says nothing."""

QUICK = Retries(n_retries=3, base_s=0.001, max_pause_s=2.0)


@dataclass
class Service:
    """What the server does next, and what it was asked."""

    address: str = ""
    faults: list[Any] = field(default_factory=list)
    """Answers before the good ones: a status, a status with headers, text, or HANGS."""
    dim: int = 3
    reverse: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        dim = asked.get("dimensions", self.dim)
        entries = [
            {"index": place, "object": "embedding", "embedding": [float(len(text))] * dim}
            for place, text in enumerate(asked["input"])
        ]
        return {"object": "list", "model": asked["model"], "data": entries[::-1] if self.reverse else entries}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Service()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.requests.append(asked)
                state.headers.append(dict(self.headers))
                state.paths.append(self.path)
                fault = state.faults.pop(0) if state.faults else None
            if fault is HANGS:
                state.ended.wait()
                fault = None
            status, headers, content = 200, {}, json.dumps(state.answer(asked))
            if isinstance(fault, int):
                status, content = fault, f"failed with {KEY} " + "and on " * 200
            elif isinstance(fault, tuple):
                status, headers = fault
            elif isinstance(fault, str):
                content = fault
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(content.encode())
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    state.ended.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def embedder(service: Service) -> Iterator[OpenAIEmbedder]:
    made = OpenAIEmbedder(f"{service.address}/v1/", "small", dim=3, batch_size=4, timeout_s=5.0, retries=QUICK)
    yield made
    made.close()


def test_texts_are_sent_in_batches_and_come_back_in_order(service: Service, embedder: OpenAIEmbedder) -> None:
    service.reverse = True
    vectors = embed_checked(embedder, ["x" * length for length in range(1, 11)])
    np.testing.assert_array_equal(vectors[:, 2], range(1, 11))
    assert [len(asked["input"]) for asked in service.requests] == [4, 4, 2]
    assert {asked["model"] for asked in service.requests} == {"small"} and "dimensions" not in service.requests[0]
    assert set(service.paths) == {"/v1/embeddings"}
    assert service.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert embedder.embed([]).shape == (0, 3) and len(service.requests) == 3


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 504, 408, (429, {"Retry-After": "0"})])
def test_a_busy_service_is_asked_again(service: Service, embedder: OpenAIEmbedder, fault: Any) -> None:
    service.faults = [fault, fault]
    assert embed_checked(embedder, ["ab"]).tolist() == [[2.0, 2.0, 2.0]]
    assert len(service.requests) == 3


def test_the_service_says_when_to_come_back(service: Service, embedder: OpenAIEmbedder) -> None:
    service.faults = [(429, {"Retry-After": "1"})]
    start = time.monotonic()
    embedder.embed(["ab"])
    assert time.monotonic() - start >= 1.0
    service.faults = [(503, {"Retry-After": "3600"})]
    with pytest.raises(ModelUnavailable, match=r"at 1 try: status 503.*asks to come back after 3600 s"):
        embedder.embed(["ab"])


def test_a_service_that_stays_busy_is_given_up(service: Service, embedder: OpenAIEmbedder) -> None:
    service.faults = [500] * 4
    with pytest.raises(ModelUnavailable, match=r"did not answer at 4 tries: status 500") as caught:
        embedder.embed(["ab"])
    assert len(service.requests) == 4
    assert KEY not in caught.value.message and len(caught.value.message) < 500


def test_a_service_that_is_slow_is_asked_again_and_given_up(service: Service) -> None:
    patient = OpenAIEmbedder(service.address, "small", dim=3, timeout_s=0.5, retries=Retries(9, 0.001))
    service.faults = [HANGS]
    assert patient.embed(["ab"]).shape == (1, 3) and len(service.requests) >= 2
    patient.close()
    hasty = OpenAIEmbedder(service.address, "small", dim=3, timeout_s=0.2, retries=Retries(1, 0.001))
    service.faults = [HANGS] * 4
    with pytest.raises(ModelUnavailable, match=r"at 2 tries: (Read|Connect)Timeout"):
        hasty.embed(["ab"])
    hasty.close()


def test_a_service_that_is_not_there_is_given_up(service: Service) -> None:
    embedder = OpenAIEmbedder("http://127.0.0.1:9", "small", dim=3, retries=Retries(1, 0.001))
    with pytest.raises(ModelUnavailable, match="at 2 tries: ConnectError"):
        embedder.embed(["ab"])
    embedder.close()


@pytest.mark.parametrize("status", [401, 403, 404, 301])
def test_a_refusal_is_not_tried_again(service: Service, embedder: OpenAIEmbedder, status: int) -> None:
    service.faults = [status]
    with pytest.raises(ModelUnavailable, match=rf"'small' at .* cannot be used: status {status}, failed with \*\*\*"):
        embedder.embed(["ab"])
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_content_that_the_service_refuses_is_bad_data(service: Service, embedder: OpenAIEmbedder, status: int) -> None:
    service.faults = [status]
    with pytest.raises(InvalidData, match="refused the texts"):
        embedder.embed(["ab"])


def vectors(*pairs: tuple[int, list[Any]]) -> str:
    return json.dumps({"data": [{"index": index, "embedding": embedding} for index, embedding in pairs]})


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("no json", ModelUnavailable, "did not answer as the protocol says"),
        ("{}", ModelUnavailable, "KeyError: 'data'"),
        ('{"data": [{"embedding": [1]}]}', ModelUnavailable, "KeyError: 'index'"),
        (vectors((0, ["a"]), (1, [2])), ModelUnavailable, "ValueError"),
        (vectors((0, [1, 2, 3]), (1, [1])), ModelUnavailable, "as the protocol says"),
        (vectors((0, [1, 2, 3])), ModelUnavailable, "one vector for each of 2 texts"),
        (vectors((0, [1, 2, 3]), (0, [1, 2, 3])), ModelUnavailable, "one vector for each of 2 texts"),
        (vectors((0, []), (1, [])), DimensionMismatch, "length 0; it is registered with 3"),
        (vectors((0, [1, 2]), (1, [1, 2])), DimensionMismatch, "length 2; it is registered with 3"),
        (vectors((0, [1e39, 2, 3]), (1, [1, 2, 3])), NotFinite, "NaN or infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_answers_that_are_none(
    service: Service, embedder: OpenAIEmbedder, answer: str, error: type[Exception], message: str
) -> None:
    service.faults = [answer]
    with pytest.raises(error, match=message):
        embed_checked(embedder, ["ab", "c"])


@pytest.mark.parametrize("content", [1, None, "", ["a"]])
def test_content_that_is_no_text_is_refused_before_it_is_sent(
    service: Service, embedder: OpenAIEmbedder, content: Any
) -> None:
    with pytest.raises(InvalidData, match="content 1 of the batch is"):
        embedder.embed(["ab", content])
    assert service.requests == []


def test_the_length_is_asked_for_where_nobody_said_it(service: Service) -> None:
    asking = OpenAIEmbedder(service.address, "small")
    assert service.requests == []
    assert asking.dim == 3 and asking.dim == 3 and len(service.requests) == 1
    cut = OpenAIEmbedder(service.address, "small", dimensions=2)
    assert cut.dim == 2 and embed_checked(cut, ["ab"]).shape == (1, 2)
    assert service.requests[-1]["dimensions"] == 2
    asking.close()
    cut.close()


def test_the_key_is_read_when_it_is_used_and_never_stored(
    service: Service, embedder: OpenAIEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder.save(tmp_path)
    stored = "".join(file.read_text() for file in tmp_path.iterdir())
    assert KEY not in stored and "OPENAI_API_KEY" in stored
    loaded = OpenAIEmbedder.load(tmp_path)
    assert loaded.fingerprint == embedder.fingerprint and loaded.retries == QUICK
    assert loaded.embed(["ab"]).tolist() == [[2.0, 2.0, 2.0]]
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelUnavailable, match="set the environment variable OPENAI_API_KEY"):
        loaded.embed(["ab"])
    keyless = OpenAIEmbedder(service.address, "small", dim=3, api_key_env=None)
    keyless.embed(["ab"])
    assert "Authorization" not in service.headers[-1]
    keyless.close()
    loaded.close()


def test_what_names_the_model_is_its_fingerprint(service: Service) -> None:
    def fingerprint(url: str = "https://one/v1", model: str = "small", **options: Any) -> str:
        return OpenAIEmbedder(url, model, **options).fingerprint

    made = [fingerprint(), fingerprint("https://two/v1"), fingerprint(model="large"), fingerprint(dimensions=2)]
    assert len(set(made)) == 4
    assert fingerprint(batch_size=1, timeout_s=1.0, api_key_env="OTHER") == made[0]
    assert service.requests == []


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://host/v1", {}, "write https://HOST/v1"),
        ("host/v1", {}, "write https://HOST/v1"),
        ("https://user:word@host/v1", {}, "holds a secret"),
        ("https://host/v1?api_key=abc", {}, "holds a secret"),
        ("http://host/v1", {}, "unencrypted"),
        ("https://host/v1", {"dim": 0}, "dim=0"),
        ("https://host/v1", {"dim": 2, "dimensions": 3}, "differ"),
        ("https://host/v1", {"batch_size": 0}, "batch_size=0"),
        ("https://host/v1", {"timeout_s": 0}, "timeout_s=0"),
    ],
)
def test_services_that_cannot_be_are_refused(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as caught:
        OpenAIEmbedder(url, "small", **options)
    assert "word" not in caught.value.message and "abc" not in caught.value.message


def test_plain_http_needs_no_key_or_a_permission(service: Service) -> None:
    assert OpenAIEmbedder("http://host/v1", "small", api_key_env=None).url == "http://host/v1"
    assert OpenAIEmbedder("http://host/v1", "small", allow_plain_http=True).url == "http://host/v1"


def test_a_description_that_cannot_be_read_is_damage(tmp_path: Path) -> None:
    for content in ("{", "{}", '{"retries": {}, "unknown": 1}'):
        (tmp_path / "service.json").write_text(content)
        with pytest.raises(Corruption, match="cannot be read"):
            OpenAIEmbedder.load(tmp_path)
