"""Small real servers that receive what the monitor tells."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class WebReceiver:
    """An HTTP server; `status` says how it answers the n-th request, from 0."""

    status: Callable[[int], int] = lambda _: 204
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def web_receiver(status: Callable[[int], int] = lambda _: 204) -> Iterator[WebReceiver]:
    receiver = WebReceiver(status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.headers.append(dict(self.headers))
            self.send_response(receiver.status(len(receiver.bodies) - 1))
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        receiver.port = port
        yield receiver


@contextmanager
def garbage_sender() -> Iterator[int]:
    """Answer every connection with what is no HTTP, and give the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(b"garbage not http\r\n\r\n")

    with _running(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port


@dataclass
class MailReceiver:
    """An SMTP server that takes every message, or refuses each recipient."""

    refuses: bool = False
    messages: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    port: int = 0


@contextmanager
def mail_receiver(refuses: bool = False) -> Iterator[MailReceiver]:
    receiver = MailReceiver(refuses)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 ready")
            while line := self.rfile.readline():
                command = line.decode().strip()
                word = command.split(" ")[0].upper()
                if word == "EHLO":
                    self.say("250-here\r\n250 AUTH PLAIN")
                elif word == "AUTH":
                    receiver.logins.append(command)
                    self.say("235 ok")
                elif word == "RCPT" and receiver.refuses:
                    self.say("550 nobody here")
                elif word == "DATA":
                    self.say("354 go on")
                    receiver.messages.append(self.message())
                    self.say("250 taken")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def message(self) -> str:
            lines: list[str] = []
            while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                lines.append(line)
            return "\n".join(lines)

    with _running(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        receiver.port = port
        yield receiver


@contextmanager
def _running(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
