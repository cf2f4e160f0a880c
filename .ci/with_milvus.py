"""Run a command with a real Milvus server beside it: with_milvus.py [--optional] COMMAND...

The server is PyPI's `milvus` (Linux on x86-64) in an environment of its own, on free ports of this
machine, with its data in a temporary folder. The command finds its address in ROOST_MILVUS_URI and
its process id in ROOST_MILVUS_PID; both are gone when the command ends. With --optional the command
runs without a server where the package cannot be installed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import make_venv
from pymilvus import MilvusClient, MilvusException

REQUIREMENT = "milvus==2.3.5"
VENV = Path(__file__).resolve().parent.parent / ".venv-milvus"
START_TIMEOUT_S = 180.0
ETCD = """\
name: default
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
"""
"""The launcher leaves etcd on its usual ports, which another Milvus server may hold."""


def install() -> Path:
    """Return the server's program, installed first where it is missing.

    Raises: subprocess.CalledProcessError: pip could not install it.
    """
    program = VENV / "bin" / "milvus-server"
    if not program.exists():
        make_venv.main(VENV)
        subprocess.run([VENV / "bin" / "python", "-m", "pip", "install", REQUIREMENT], check=True)
    return program


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def wait_until_it_answers(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            client = MilvusClient(uri, timeout=5)
            client.list_collections()
            client.close()
        except MilvusException:
            time.sleep(1)
        else:
            return
    state = "did not answer in time" if server.poll() is None else f"ended with status {server.returncode}"
    raise SystemExit(f"the Milvus server {state}; its output:\n{log.read_text()}")


def child_of(process_id: int) -> int:
    """Return the process that the launcher started, which is the server itself."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return int(children[0])


@contextmanager
def running(program: Path) -> Iterator[dict[str, str]]:
    """Start the server, give the environment that names it, and stop it afterwards."""
    with tempfile.TemporaryDirectory(prefix="roost-milvus-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        log, etcd = folder / "server.log", folder / "etcd.yaml"
        port, etcd_client, etcd_peer = free_ports(3)
        etcd.write_text(ETCD.format(client=etcd_client, peer=etcd_peer))
        command = [str(program), "--data", str(folder / "data")]
        command += ["--proxy-port", str(port), "--etcd-port", str(etcd_client)]
        env = os.environ | {"ETCD_CONFIG_PATH": str(etcd)}
        with log.open("wb") as output:
            server = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            uri = f"http://127.0.0.1:{port}"
            wait_until_it_answers(uri, server, log)
            print(f"a Milvus server answers at {uri}", flush=True)
            yield {"ROOST_MILVUS_URI": uri, "ROOST_MILVUS_PID": str(child_of(server.pid))}
        finally:
            server.send_signal(signal.SIGINT)  # the launcher passes only this one on to the server
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def main(arguments: list[str]) -> int:
    optional = arguments[:1] == ["--optional"]
    command = arguments[1:] if optional else arguments
    if not command:
        raise SystemExit(__doc__)
    try:
        program = install()
    except subprocess.CalledProcessError as error:
        if not optional:
            raise SystemExit(f"{REQUIREMENT} cannot be installed: {error}") from error
        print(f"going on without a Milvus server: {REQUIREMENT} cannot be installed", file=sys.stderr)
        return subprocess.run(command).returncode
    with running(program) as names:
        return subprocess.run(command, env=os.environ | names).returncode


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
