from __future__ import annotations

import json
import logging
import socket
from typing import Any

import pytest

from roost.address import is_loopback
from roost.errors import InvalidArgument, WorkspaceError
from roost.lifecycle.monitor.notify import Email, Log, Message, Webhook, channel_from_dict

from .receivers import garbage_sender, mail_receiver, web_receiver

MESSAGE = Message("open", "critical", "[critical] shop: recall", "recall is 0.5", {"rule": "recall", "value": 0.5})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_webhook_posts_json_with_headers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "Bearer s3cret")
    with web_receiver() as receiver:
        Webhook(receiver.url, headers_env={"Authorization": "HOOK_TOKEN"}).send(MESSAGE)
    assert json.loads(receiver.bodies[0]) == {"rule": "recall", "value": 0.5}
    assert receiver.headers[0]["Authorization"] == "Bearer s3cret"
    assert receiver.headers[0]["Content-Type"] == "application/json"


def test_a_webhook_s_url_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_receiver() as receiver:
        monkeypatch.setenv("HOOK", receiver.url)
        hook = Webhook(url_env="HOOK")
        hook.send(MESSAGE)
    assert len(receiver.bodies) == 1
    assert receiver.url not in json.dumps(hook.to_dict()) and "HOOK" in repr(hook)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success_is_an_error_and_no_redirect_is_followed(status: int) -> None:
    with web_receiver(lambda _: status) as receiver, pytest.raises(WorkspaceError, match=f"answered {status}"):
        Webhook(receiver.url).send(MESSAGE)


def test_a_webhook_that_is_not_there_is_an_error() -> None:
    with pytest.raises(WorkspaceError, match="cannot be reached"):
        Webhook(f"http://127.0.0.1:{free_port()}/").send(MESSAGE)


def test_a_webhook_that_does_not_speak_http_is_an_error() -> None:
    with garbage_sender() as port, pytest.raises(WorkspaceError, match="cannot be reached: BadStatusLine"):
        Webhook(f"http://127.0.0.1:{port}/").send(MESSAGE)


def test_a_webhook_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = Webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.2)
        with pytest.raises(WorkspaceError, match="cannot be reached"):
            hook.send(MESSAGE)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_TOKEN", raising=False)
    with pytest.raises(WorkspaceError, match="HOOK_TOKEN is not set"):
        Webhook("http://localhost:1/", headers_env={"Authorization": "HOOK_TOKEN"}).send(MESSAGE)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "http://localhost/", "url_env": "HOOK"},
        {"url": "ftp://example.org/"},
        {"url": "http://example.org/"},
        {"url": "https://ann:secret@example.org/"},
        {"url": "https://example.org/?token=abc"},
        {"url": "https://example.org/", "timeout_s": 0},
    ],
)
def test_a_webhook_that_is_not_safe_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Webhook(**options)
    assert "secret@" not in caught.value.message and "abc" not in caught.value.message


def test_http_to_another_machine_has_to_be_asked_for() -> None:
    assert Webhook("http://alerts.internal/", allow_http=True).url == "http://alerts.internal/"


def test_an_unsafe_url_from_the_environment_is_refused_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "http://example.org/")
    with pytest.raises(InvalidArgument, match="not encrypted"):
        Webhook(url_env="HOOK").send(MESSAGE)


def test_an_e_mail_is_sent_with_a_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "s3cret")
    with mail_receiver() as receiver:
        Email(
            "127.0.0.1",
            "roost@example.org",
            ("ann@example.org", "bob@example.org"),
            port=receiver.port,
            user="roost",
            password_env="MAIL_PASSWORD",
            starttls=False,
        ).send(MESSAGE)
    [text] = receiver.messages
    assert "Subject: [critical] shop: recall" in text and "recall is 0.5" in text
    assert "To: ann@example.org, bob@example.org" in text and len(receiver.logins) == 1


def test_a_mail_server_that_refuses_is_an_error() -> None:
    with mail_receiver(refuses=True) as receiver:
        mail = Email("127.0.0.1", "a@example.org", ("b@example.org",), port=receiver.port, starttls=False)
        with pytest.raises(WorkspaceError, match="SMTPRecipientsRefused"):
            mail.send(MESSAGE)


def test_a_mail_server_without_encryption_gets_nothing_when_it_is_asked_for() -> None:
    with mail_receiver() as receiver:
        mail = Email("127.0.0.1", "a@example.org", ("b@example.org",), port=receiver.port)
        with pytest.raises(WorkspaceError, match="SMTPNotSupportedError"):
            mail.send(MESSAGE)
    assert receiver.messages == []


@pytest.mark.parametrize(
    "options",
    [
        {"to": ()},
        {"to": ("nobody",)},
        {"sender": "a@example.org\nBcc: c@example.org"},
        {"user": "ann"},
        {"host": "mail.example.org", "starttls": False},
    ],
)
def test_an_e_mail_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Email(**{"host": "127.0.0.1", "sender": "a@example.org", "to": ("b@example.org",), **options})


def test_the_log_says_it_as_loud_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="roost.monitor"):
        Log().send(MESSAGE)
        Log().send(Message("resolved", "critical", "t", "good again", {}))
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL, logging.INFO]


def test_channels_survive_being_stored() -> None:
    for channel in (
        Log(),
        Webhook("https://example.org/", headers_env={"Authorization": "T"}),
        Email("mail.example.org", "a@example.org", ("b@example.org",)),
    ):
        assert channel_from_dict(json.loads(json.dumps(channel.to_dict()))) == channel
    with pytest.raises(InvalidArgument, match="'pigeon' is not known"):
        channel_from_dict({"kind": "pigeon"})
    with pytest.raises(InvalidArgument, match="not a channel"):
        channel_from_dict({"kind": "log", "colour": 1})


def test_what_is_this_machine() -> None:
    assert is_loopback("localhost") and is_loopback("127.0.0.9") and is_loopback("::1")
    assert not is_loopback("example.org") and not is_loopback("10.0.0.1")
