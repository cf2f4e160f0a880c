"""Running a recipe in a process that is ended when it may not go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from roost.address import without_secrets
from roost.lifecycle.models.tracking import NO_TELEMETRY
from roost.lifecycle.retrain.training import LOG, REQUEST, Request

Ending: TypeAlias = Literal["finished", "over_budget", "cancelled"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended.

    Attributes:
        killed_by: the signal that somebody else ended it with, as in "SIGKILL".
    """

    ending: Ending
    killed_by: str | None = None


_COMMAND = "import sys, pathlib; from roost.lifecycle.retrain import training; training.run(pathlib.Path(sys.argv[1]))"
_LOOK_EVERY_S = 0.1
_GRACE_S = 5.0
_LOG_TAIL = 2000


def run(request: Request, directory: Path, goes_on: Callable[[], bool]) -> Exit:
    """Carry out a request in a process of its own and wait for it.

    The process and everything that it started are ended when its seconds are over, when `goes_on`
    says no, and when this call is left by an exception such as Ctrl-C.

    Args:
        directory: empty; the request, the result and the log are written there.
        goes_on: asked several times a second.
    """
    (directory / REQUEST).write_text(json.dumps(asdict(request)), encoding="utf-8")
    with (directory / LOG).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )
        try:
            ending = _wait(process, time.monotonic() + request.max_seconds, goes_on)
            return Exit(ending, _signal_name(process.returncode))
        finally:
            _end(process)


def environment() -> dict[str, str]:
    """Return the variables of a process that finds the modules that this one finds."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, **NO_TELEMETRY, "PYTHONPATH": path}


def log_tail(directory: Path) -> str:
    """Return the end of what the process printed."""
    file = directory / LOG
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return without_secrets(text[-_LOG_TAIL:].strip())


def _wait(process: subprocess.Popen[bytes], until: float, goes_on: Callable[[], bool]) -> Ending:
    while process.poll() is None:
        if time.monotonic() > until:
            return "over_budget"
        if not goes_on():
            return "cancelled"
        time.sleep(_LOOK_EVERY_S)
    return "finished"


def _signal_name(status: int | None) -> str | None:
    if status is None or status >= 0:
        return None
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process's whole group, at first politely."""
    for sign, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
