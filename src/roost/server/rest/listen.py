"""The socket that a server listens on."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from roost.errors import InvalidArgument


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, for `uvicorn.Server.run(sockets=[...])`.

    Args:
        port: 0 for any that is free.
    Raises: OSError: the address cannot be had.
    """
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # Connections inherit it. asyncio sets it only where a socket names its protocol, and without it every answer
    # waits some 40 ms for the other side's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address_of(listener: socket.socket, is_encrypted: bool = False) -> str:
    """Return the URL at which a socket is reached."""
    host, port, *_ = listener.getsockname()
    scheme = "https" if is_encrypted else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def check_certificate(certfile: Path, keyfile: Path | None) -> None:
    """Check that two files are a certificate, with those that vouch for it, and its key.

    Args:
        keyfile: None where the first file holds the key too.
    Raises:
        InvalidArgument: they are not, the key is missing, or it is encrypted.
        OSError: a file cannot be read.
    """
    for file in (certfile, keyfile):
        if file is not None:
            file.read_bytes()  # the error of a missing file names it
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=_refuse_password)
    except ssl.SSLError as error:
        raise InvalidArgument(_fault(certfile, keyfile, error)) from error


def _fault(certfile: Path, keyfile: Path | None, error: ssl.SSLError) -> str:
    """Say what is wrong with the files of a certificate and its key."""
    if keyfile is None:
        return (
            f"--ssl-certfile {certfile} does not hold both a certificate and its key in PEM format: "
            "if the key is in a file of its own, name it by --ssl-keyfile"
        )
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key of --ssl-keyfile {keyfile} is not that of the certificate of --ssl-certfile {certfile}"
    why = f": {error.reason}" if error.reason else ""
    return f"--ssl-certfile {certfile} and --ssl-keyfile {keyfile} are not a certificate and its key in PEM format{why}"


def _refuse_password() -> str:
    raise InvalidArgument(
        "the certificate's key is encrypted: give --ssl-keyfile one that is not, which the server alone may read"
    )
