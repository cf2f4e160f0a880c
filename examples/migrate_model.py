"""Replace the model behind a live search, with the power cord pulled twice.

    python examples/migrate_model.py                                  # the embedded engine
    python examples/migrate_model.py --uri http://127.0.0.1:19530     # a Milvus server

Fashion-MNIST is searched by PCA's 32 dimensions. While two clients search and one writes, a kernel model of 64
dimensions is backfilled from the application's own table, and whoever carries that out is killed twice with SIGKILL.
Then the new model is promoted, rolled back and promoted again, and every row of both deployments is compared with what
was written last.

On the embedded engine one process owns the vectors, so it hosts the clients too: they die with it and go on when it is
started again. On a server the clients are another process and go on meanwhile. Prints a report; the exit status is 1
when a query failed, a row is lost or stale, or a switch took longer than --max-switch-ms.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import make_pipeline

import roost
from roost.demo.images import load_images
from roost.lifecycle.backfill import Progress, Source
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.models.embedders.sklearn import SklearnEmbedder

KILL_AT = (0.3, 0.6)
ENDPOINT_PAUSE_S = 0.005
SETTLE_S = 1.5
PAGE = 1_000


class Table(Source):
    """The application's own table of records, which the writer changes before it writes to the endpoint."""

    def __init__(self, path: Path, n_rows: int) -> None:
        self.images = load_images("fashion-mnist").gallery
        self._path = path
        with self._open() as table:
            table.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, version INT, gone INT, acked INT)")
            if not table.execute("SELECT 1 FROM rows").fetchone():
                table.executemany("INSERT INTO rows VALUES (?, 0, 0, 1)", [(i,) for i in range(n_rows)])
        self._n_rows = n_rows

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)

    @property
    def n_records(self) -> int:
        return self._n_rows

    @property
    def digest(self) -> str:
        return "table"

    def describe(self) -> dict[str, Any]:
        return {"kind": "table"}

    def record(self, key: int, version: int) -> dict[str, Any]:
        """Return a version of a record; each has another image."""
        return {"id": key, "content": self.images[(key + 7_919 * version) % len(self.images)], "version": version}

    def records(self, n_done: int = 0, last_key: int | str | None = None) -> Iterator[dict[str, Any]]:
        key = -1 if last_key is None else int(last_key)
        while rows := self.read("id > ? AND NOT gone ORDER BY id LIMIT ?", key, PAGE):
            for key, version, _, _ in rows:
                yield self.record(key, version)

    def read(self, where: str, *values: int) -> list[tuple[int, int, int, int]]:
        """Return rows: key, version, whether it is deleted, whether the endpoint has taken it."""
        with self._open() as table:
            return table.execute(f"SELECT id, version, gone, acked FROM rows WHERE {where}", values).fetchall()

    def change(self, key: int, version: int, gone: int, acked: int) -> None:
        with self._open() as table:
            table.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", (key, version, gone, acked))


def say(**what: Any) -> None:
    """Tell the process that started this one."""
    with _saying:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


_saying = threading.Lock()


class Clients:
    """Two threads that search and one that writes, until they are stopped."""

    def __init__(self, endpoint: Any, table: Table, seed: int) -> None:
        self.endpoint, self.table = endpoint, table
        self.n_queries, self.n_failed, self.n_written = 0, 0, 0
        self._stop = threading.Event()
        self._count = threading.Lock()
        self._random = np.random.default_rng(seed)
        work: list[Callable[[], None]] = [self._search, self._search, self._write, self._tell]
        self._threads = [threading.Thread(target=one, daemon=True) for one in work]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _search(self) -> None:
        queries = load_images("fashion-mnist").held_out
        while not self._stop.wait(ENDPOINT_PAUSE_S):
            failed = 0
            try:
                self.endpoint.search(queries[self.n_queries % len(queries)], limit=10)
            except Exception as error:
                say(failure=f"{type(error).__name__}: {error}")
                failed = 1
            with self._count:
                self.n_queries, self.n_failed = self.n_queries + 1, self.n_failed + failed

    def _write(self) -> None:
        """What was sent before a kill and not acknowledged is sent again first, as a client does that got no answer."""
        for key, version, gone, _ in self.table.read("NOT acked"):
            self._send(key, version, gone)
        while not self._stop.wait(ENDPOINT_PAUSE_S):
            key = int(self._random.integers(self.table.n_records * 1.02))
            found = self.table.read("id = ?", key)
            version, gone = (found[0][1] + 1 if found else 1), int(self._random.random() < 0.1)
            self.table.change(key, version, gone, 0)
            self._send(key, version, gone)

    def _send(self, key: int, version: int, gone: int) -> None:
        if gone:
            self.endpoint.delete([key])
        else:
            self.endpoint.write([self.table.record(key, version)])
        self.table.change(key, version, gone, 1)
        self.n_written += 1

    def _tell(self) -> None:
        while not self._stop.wait(0.1):
            say(queries=self.n_queries, failed=self.n_failed, written=self.n_written)


def operate(endpoint: Any, workspace: roost.Workspace, table: Table, seconds: float) -> None:
    """Fill the new deployment, from where it stands, and switch to and fro."""
    options: dict[str, Any] = {
        "rate_limit": table.n_records / seconds,
        "progress": lambda at: say(n_done=at.n_done) if isinstance(at, Progress) else None,
    }
    names = {found.name: found for found in endpoint.deployments()}
    if "fashion-v2" not in names:
        built = endpoint.deploy(workspace.models.get("fashion", 2), table, **options)
    elif names["fashion-v2"].state is State.BUILDING:
        built = endpoint.resume("fashion-v2", table, **options)
    else:
        built = names["fashion-v2"]
    time.sleep(SETTLE_S)
    switches = [endpoint.promote(built, "the new model")]
    time.sleep(SETTLE_S)
    switches.append(endpoint.rollback(reason="to show that it can be undone"))
    time.sleep(SETTLE_S)
    switches.append(endpoint.promote(built, "the new model"))
    time.sleep(SETTLE_S)
    job = workspace.jobs.list(endpoint=endpoint.name)[0]
    say(
        switches_ms=[round(1000 * switch.seconds, 1) for switch in switches],
        n_rejected=job.n_rejected,
        verification=dict(job.result["verification"]),
    )


def compare(endpoint: Any, workspace: roost.Workspace, table: Table) -> None:
    """Hold every row of both deployments against what was written last."""
    expected = {key: version for key, version, gone, _ in table.read("NOT gone")}
    for name in ("fashion-v1", "fashion-v2"):
        deployment = endpoint.deployment(name)
        embedder = workspace.models.load(workspace.models.get("fashion", deployment.model_version))
        found: dict[int, int] = {}
        n_wrong, last = 0, -1
        while rows := workspace.vectors.query(
            deployment.collection,
            filter=f"id > {last}",
            output_fields=["id", "version", "vector"],
            limit=PAGE,
            consistency_level="Strong",
        ):
            found |= {row["id"]: row["version"] for row in rows}
            last = max(row["id"] for row in rows)
            contents = [table.record(row["id"], row["version"])["content"] for row in rows]
            stored = np.asarray([row["vector"] for row in rows], np.float32)
            apart = np.linalg.norm(embedder.embed(contents) - stored, axis=1) / np.linalg.norm(stored, axis=1)
            n_wrong += int((apart > 1e-3).sum())
        say(
            compared=name,
            rows=len(found),
            lost=len(expected.keys() - found.keys()),
            not_deleted=len(found.keys() - expected.keys()),
            stale=sum(found[key] != version for key, version in expected.items() if key in found),
            wrong_vectors=n_wrong,
        )


def role(arguments: argparse.Namespace) -> None:
    """Be one of the processes."""
    home = Path(arguments.home)
    shop = str(home / "shop")
    places = [arguments.uri, shop] if arguments.uri else [shop]
    table = Table(home / "table.db", arguments.rows)
    with roost.Workspace(*places, actor=arguments.role) as workspace:
        if arguments.role == "prepare":
            prepare(workspace, table, arguments.endpoint)
            return
        endpoint = workspace.endpoints.get(arguments.endpoint)
        if arguments.role == "operator":
            operate(endpoint, workspace, table, arguments.seconds)
            return
        clients = Clients(endpoint, table, seed=os.getpid())
        if arguments.role == "host":
            operate(endpoint, workspace, table, arguments.seconds)
        else:
            say(ready=True)
            sys.stdin.readline()
        clients.stop()
        say(queries=clients.n_queries, failed=clients.n_failed, written=clients.n_written)
        compare(endpoint, workspace, table)
        say(ledger=workspace.ledger.verify())


def prepare(workspace: roost.Workspace, table: Table, name: str) -> None:
    """Register both models and put the first into production."""
    some = table.images[np.random.default_rng(0).permutation(len(table.images))[:4_000]]
    first = workspace.models.register("fashion", SklearnEmbedder(PCA(32).fit(some)))
    kernel = make_pipeline(Nystroem(n_components=256, random_state=0), PCA(64)).fit(some)
    second = workspace.models.register("fashion", SklearnEmbedder(kernel))
    endpoint = workspace.endpoints.create(name)
    say(estimate=str(endpoint.estimate(second, table, sample=1_024)))
    endpoint.promote(endpoint.deploy(first, table, batch_size=1_000), "the first model")


class Child:
    """A process of this script, and what it says."""

    def __init__(self, name: str, arguments: argparse.Namespace, home: str) -> None:
        command = [sys.executable, __file__, "--role", name, "--home", home, "--rows", str(arguments.rows)]
        command += ["--seconds", str(arguments.seconds), "--endpoint", arguments.endpoint]
        command += ["--uri", arguments.uri] if arguments.uri else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said: dict[str, Any] = {}
        self.compared: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def listen(self, until: Callable[[dict[str, Any]], bool] = lambda _: False) -> bool:
        """Take in what it says until that is seen, and return whether it was; False when it ended before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                break  # the kill came in the middle of it
            what = json.loads(line)
            if "compared" in what:
                self.compared.append(what)
            if "failure" in what:
                self.failures.append(what["failure"])
            self.said |= what
            if until(what):
                return True
        self.process.wait()
        return False

    def stop(self) -> None:
        """Ask it to end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.listen()


def run(arguments: argparse.Namespace, home: str, children: list[Child]) -> dict[str, Any]:
    """Carry it out and return the report; every process that is started is added to the children."""

    def start(name: str) -> Child:
        children.append(Child(name, arguments, home))
        return children[-1]

    first = start("prepare")
    first.listen()
    if first.process.returncode:
        raise SystemExit("the first model could not be deployed")
    clients = start("clients") if arguments.uri else None
    if clients is not None:
        clients.listen(lambda what: "ready" in what)
        listener = threading.Thread(target=clients.listen, daemon=True)
        listener.start()
    lives: list[Child] = [] if clients is None else [clients]
    for share in KILL_AT:
        child = start("operator" if arguments.uri else "host")
        if not child.listen(lambda what, share=share: what.get("n_done", 0) >= share * arguments.rows):
            raise SystemExit("the backfill ended before it could be killed")
        child.kill()
        lives.append(child)
    last = start("operator" if arguments.uri else "host")
    last.listen()
    lives.append(last)
    if clients is not None:
        clients.stop()
        listener.join()
    return {
        "engine": arguments.uri or "embedded",
        "rows": arguments.rows,
        "estimate": first.said["estimate"],
        "kills": len(KILL_AT),
        "exit": [life.process.returncode for life in lives],
        "queries": sum(life.said.get("queries", 0) for life in lives),
        "failed_queries": sum(life.said.get("failed", 0) for life in lives),
        "failures": [text for life in lives for text in life.failures][:5],
        "writes": sum(life.said.get("written", 0) for life in lives),
        "switches_ms": last.said.get("switches_ms", []),
        "n_rejected": last.said.get("n_rejected"),
        "verification": last.said.get("verification"),
        "ledger": max(life.said.get("ledger", 0) for life in lives),
        "compared": [found for life in lives for found in life.compared],
    }


def clear(uri: str, endpoint: str) -> None:
    """Drop the endpoint's collections from the server."""
    client = roost.connect(uri)
    for name in client.list_collections():
        if name.startswith(f"{endpoint.replace('-', '_')}__"):
            for alias in client.list_aliases(name)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(name)
    client.close()


def faults(report: dict[str, Any], max_switch_ms: float) -> list[str]:
    """Return what is wrong with a report."""
    found = [f"{report['failed_queries']} queries failed"] if report["failed_queries"] else []
    if len(report["switches_ms"]) != 3 or len(report["compared"]) != 2:
        return [*found, "it did not come to its end"]
    for one in report["compared"]:
        found += [
            f"{one['compared']}: {one[what]} {what}"
            for what in ("lost", "not_deleted", "stale", "wrong_vectors")
            if one[what]
        ]
    slow = [ms for ms in report["switches_ms"] if ms > max_switch_ms]
    return found + [f"a switch took {ms} ms" for ms in slow]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", help="a Milvus server; by default the embedded engine")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--seconds", type=float, default=15.0, help="the backfill is slowed down to take at least this")
    parser.add_argument("--max-switch-ms", type=float, default=50.0)
    parser.add_argument("--endpoint", default="migrated")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--home", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        role(arguments)
        return
    with tempfile.TemporaryDirectory() as home:
        children: list[Child] = []
        try:
            report = run(arguments, home, children)
        finally:
            for child in children:
                child.process.kill()
                child.process.wait()
            if arguments.uri:
                clear(arguments.uri, arguments.endpoint)
    print(json.dumps(report, indent=2))
    wrong = faults(report, arguments.max_switch_ms)
    print("\n".join(wrong) or "nothing failed, nothing was lost")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
