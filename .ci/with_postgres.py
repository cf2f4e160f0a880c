"""Run a command with a PostgreSQL server beside it: with_postgres.py [--optional] COMMAND...

The server is the newest one that is installed (Debian's package postgresql), with its data in a
temporary folder, on a free port of this machine and behind a password. The command finds its
address in ROOST_POSTGRES_URL; server and data are gone when the command ends. The server does not
wait for the disk, so this is a place for tests and for nothing that has to survive a power cut.
With --optional the command runs without a server where PostgreSQL is not installed.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path("/usr/lib/postgresql")
"""Where Debian keeps the servers, one folder a version; elsewhere they are on the PATH."""

USER = "roost"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
NOT_INSTALLED = "PostgreSQL is not installed: apt-get install postgresql"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
}


def programs() -> Path | None:
    """Return the folder of the newest server's programs; None where there is none."""
    found = [path for path in ROOT.glob("*/bin") if (path / "initdb").exists() and path.parent.name.isdecimal()]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def unprivileged() -> dict[str, Any]:
    """Return who runs the server, for `subprocess`: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise SystemExit("PostgreSQL does not run as root, and there is no user postgres or nobody")


def initialise(bin_folder: Path, folder: Path, password: str, who: dict[str, Any]) -> Path:
    """Make an empty cluster whose texts sort as in a language, not by their bytes; return its folder."""
    data, password_file = folder / "data", folder / "password"
    password_file.write_text(password)
    if who:
        for path in (folder, password_file):
            os.chown(path, who["user"], who["group"])
    command = [bin_folder / "initdb", "--pgdata", data, "--username", USER, "--pwfile", password_file, "--no-sync"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, **who)
    if done.returncode:
        raise SystemExit(f"initdb ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return data


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_it_answers(bin_folder: Path, port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        if subprocess.run([bin_folder / "pg_isready", "--quiet", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0:
            return
        time.sleep(0.1)
    state = "did not answer in time" if server.poll() is None else f"ended with status {server.returncode}"
    raise SystemExit(f"the PostgreSQL server {state}; its output:\n{log.read_text(errors='replace')}")


@contextmanager
def running(bin_folder: Path) -> Iterator[dict[str, str]]:
    """Start a server, give the environment that names it, and stop it afterwards."""
    who, password = unprivileged(), secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="roost-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        data, log, port = initialise(bin_folder, folder, password, who), folder / "server.log", free_port()
        command = [str(bin_folder / "postgres"), "-D", str(data), "-k", str(folder), "-p", str(port)]
        command += [word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")]
        with log.open("wb") as output:
            # In a session of its own, so that Ctrl-C on the terminal stops the command first.
            server = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True, **who
            )
        try:
            wait_until_it_answers(bin_folder, port, server, log)
            print(f"a PostgreSQL server answers at 127.0.0.1:{port}", flush=True)
            yield {"ROOST_POSTGRES_URL": f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{port}/postgres"}
        finally:
            server.send_signal(signal.SIGINT)  # its word for: end the sessions and stop
            try:
                server.wait(timeout=STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def main(arguments: list[str]) -> int:
    optional = arguments[:1] == ["--optional"]
    command = arguments[1:] if optional else arguments
    if not command:
        raise SystemExit(__doc__)
    bin_folder = programs()
    if bin_folder is None:
        if not optional:
            raise SystemExit(NOT_INSTALLED)
        print(f"going on without it: {NOT_INSTALLED}", file=sys.stderr)
        return subprocess.run(command).returncode
    with running(bin_folder) as names:
        return subprocess.run(command, env=os.environ | names).returncode


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
