from __future__ import annotations

import socket

import pytest

from roost.server.rest import address_of, listen


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", listener.getsockname()[1])
