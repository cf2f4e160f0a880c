from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from roost.errors import InvalidArgument
from roost.server.rest import address_of, check_certificate, listen
from tests.server.conftest import Certificate


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert address_of(listener, is_encrypted=True) == f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", listener.getsockname()[1])


def test_a_certificate_needs_its_key(certificate: Certificate, tmp_path: Path) -> None:
    check_certificate(certificate.file, certificate.key)
    together = tmp_path / "both.pem"
    together.write_text(certificate.file.read_text() + certificate.key.read_text())
    check_certificate(together, None)
    with pytest.raises(InvalidArgument, match="are not a certificate and its key"):
        check_certificate(certificate.key, certificate.file)
    with pytest.raises(InvalidArgument, match="name it by --ssl-keyfile"):
        check_certificate(certificate.file, None)
    other = tmp_path / "other.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", other], check=True, capture_output=True)
    with pytest.raises(InvalidArgument, match=r"not that of the certificate|not a certificate and its key") as caught:
        check_certificate(certificate.file, other)
    assert "None" not in caught.value.message and "--ssl-keyfile" in caught.value.message
    with pytest.raises(OSError, match=r"none\.pem"):
        check_certificate(certificate.file, tmp_path / "none.pem")


def test_an_encrypted_key_is_not_asked_for_its_password(certificate: Certificate) -> None:
    with pytest.raises(InvalidArgument, match="is encrypted"):
        check_certificate(certificate.file, certificate.encrypted_key)
