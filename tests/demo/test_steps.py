"""The log of the steps."""

from __future__ import annotations

import pytest

from roost.demo.steps import SilentWatcher, Steps


class Memory(SilentWatcher):
    def __init__(self):
        self.events = []

    def began(self, name):
        self.events.append(("began", name))

    def ended(self, step):
        self.events.append(("ended", step.name, step.result))


def test_a_step_is_logged_with_its_result_and_its_watcher_is_told():
    watcher = Memory()
    steps = Steps(watcher)
    with steps.step("Train") as step:
        step.result = "a model"
    assert [(step.name, step.result) for step in steps.done] == [("Train", "a model")]
    assert steps.done[0].seconds >= 0.0
    assert watcher.events == [("began", "Train"), ("ended", "Train", "a model")]


def test_a_step_that_fails_is_not_logged():
    watcher = Memory()
    steps = Steps(watcher)
    with pytest.raises(KeyboardInterrupt), steps.step("Train"):
        raise KeyboardInterrupt
    assert steps.done == []
    assert watcher.events == [("began", "Train")]
