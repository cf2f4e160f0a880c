"""Steps that end by SIGKILL at a chosen moment. Run as `python crash_steps.py STEP ENDPOINT LOCATION [STORE]`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from sklearn.datasets import load_digits

from roost.lifecycle import ledger
from roost.lifecycle.backfill import Progress
from roost.lifecycle.deployments import space
from roost.workspace import Workspace

N_RECORDS = 300
BATCH_SIZE = 50


def die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit("SIGKILL did not come")


def records() -> list[dict[str, Any]]:
    images, labels = load_digits(return_X_y=True)
    return [{"id": i, "content": images[i].astype(np.float32), "label": int(labels[i])} for i in range(N_RECORDS)]


def die_before_row(workspace: Workspace, endpoint: str) -> None:
    """Die when a draft's collection is made, and before the draft is `building`."""
    chosen = workspace.endpoints.get(endpoint)
    draft = chosen.draft(workspace.models.get("digits", 2))
    create = space.create

    def create_and_die(*arguments: Any) -> None:
        create(*arguments)
        die()

    space.create = create_and_die
    chosen.deploy(draft, records())


def die_before_collection(workspace: Workspace, endpoint: str) -> None:
    """Die when a collection is noted, and before it is made."""
    space.create = die
    workspace.endpoints.get(endpoint).deploy(workspace.models.get("digits", 2), records())


def die_in_backfill(workspace: Workspace, endpoint: str) -> None:
    """Write two batches, change a record through the endpoint, and die after the third."""
    chosen = workspace.endpoints.get(endpoint)
    content = records()

    def progress(at: Progress) -> None:
        if at.n_done == 2 * BATCH_SIZE:
            chosen.write([{**content[-1], "label": 77}])
        if at.n_done == 3 * BATCH_SIZE:
            die()

    chosen.deploy(workspace.models.get("digits", 2), content, batch_size=BATCH_SIZE, progress=progress)


def die_before_seal(workspace: Workspace, endpoint: str) -> None:
    """Die when every record is stored and the index is built."""

    def progress(at: Progress) -> None:
        if at.stage == "done":
            die()

    workspace.endpoints.get(endpoint).deploy(workspace.models.get("digits", 2), records(), progress=progress)


def die_in_transaction(workspace: Workspace, endpoint: str) -> None:
    chosen = workspace.endpoints.get(endpoint)
    ledger.append = die
    chosen.promote("digits-v2", "better")


def die_before_engine_alias(workspace: Workspace, endpoint: str) -> None:
    chosen = workspace.endpoints.get(endpoint)
    workspace.vectors.alter_alias = die
    chosen.promote("digits-v2", "better")


def die_before_mlflow_alias(workspace: Workspace, endpoint: str) -> None:
    chosen = workspace.endpoints.get(endpoint)
    workspace.models.point_aliases = die
    chosen.promote("digits-v2", "better")


def die_before_drop(workspace: Workspace, endpoint: str) -> None:
    chosen = workspace.endpoints.get(endpoint)
    workspace.vectors.drop_collection = die
    chosen.retire("digits-v2", "not needed")
    chosen.purge("digits-v2", "not needed")


STEPS: dict[str, Callable[[Workspace, str], None]] = {
    step.__name__: step
    for step in (
        die_before_row,
        die_before_collection,
        die_in_backfill,
        die_before_seal,
        die_in_transaction,
        die_before_engine_alias,
        die_before_mlflow_alias,
        die_before_drop,
    )
}


if __name__ == "__main__":
    step, endpoint, *arguments = sys.argv[1:]
    with Workspace(*arguments) as workspace:
        STEPS[step](workspace, endpoint)
