from __future__ import annotations

import threading

from roost.lifecycle.deployments.filling import filling, is_filled
from roost.workspace import Workspace

ANY = 4711
"""The number of a deployment; there need not be one to look who fills it."""


def test_who_looks_keeps_nobody_from_filling(workspace: Workspace) -> None:
    context, done, seen = workspace._context, threading.Event(), set()

    def look() -> None:
        while not done.is_set():
            seen.add(is_filled(context, ANY))

    looking = [threading.Thread(target=look) for _ in range(2)]
    for thread in looking:
        thread.start()
    try:
        for _ in range(200):
            with filling(context, ANY).hold(wait=False) as is_ours:
                assert is_ours
                assert is_filled(context, ANY)
        with filling(context, ANY).hold(wait=False), filling(context, ANY).hold(wait=False) as is_idle:
            assert not is_idle
    finally:
        done.set()
        for thread in looking:
            thread.join()
    assert not is_filled(context, ANY)
    assert True in seen
