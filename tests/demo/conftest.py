"""A small outcome of the demo, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from roost.demo.images import ImageSet, load_images
from roost.demo.outcome import Example, LiveTestResult, Look, Outcome, Quality, Step, SwitchTiming
from roost.demo.traffic import Trace
from roost.lifecycle.ledger import Entry

OLD, NEW = "image-pca-v1", "image-pca-v2"


@pytest.fixture
def small_digits() -> ImageSet:
    """The digits with few enough images for a quick demo."""
    images = load_images("digits")
    return replace(
        images,
        gallery=images.gallery[:300],
        gallery_labels=images.gallery_labels[:300],
        held_out=images.held_out[:150],
        held_out_labels=images.held_out_labels[:150],
    )


@pytest.fixture
def make_outcome(small_digits: ImageSet) -> Callable[..., Outcome]:
    """Return a function that makes an outcome in which every promise held, but for what it is given."""
    started_s = 100.0 + np.arange(400) * 0.01
    deployments = np.where(started_s < 103.0, OLD, NEW)
    by_class = {name: 0.5 + 0.05 * label for label, name in enumerate(small_digits.classes)}
    entry = Entry(
        1, "2026-01-31T12:00:00.000000+00:00", "ada", "promote", "image-search", NEW, "it <won>", {}, "0", "f"
    )
    outcome = Outcome(
        images=small_digits,
        uri="embedded",
        endpoint="image-search",
        steps=(Step("Backfill the challenger under traffic", "300 images", 100.5, 1.0),),
        qualities=(
            Quality("champion", OLD, "PCA-4", 4, 0.7, by_class),
            Quality("challenger", NEW, "PCA-16", 16, 0.9, {name: 0.95 for name in by_class}),
        ),
        live_test=LiveTestResult(
            0.05, "challenger", (Look(0, 0, 0, 0, 1.0), Look(1, 0, 1, 0, 0.5), Look(2, 0, 2, 0, 0.04))
        ),
        switches=(SwitchTiming("promote", NEW, 103.0, 0.004, 0.03, 0.01),),
        trace=Trace(started_s, np.full(400, 0.002), deployments),
        ledger=(entry,),
        ledger_error=None,
        examples=(Example(0, {"champion": (1, 2, 3), "challenger": (4, 5, 6)}),),
        seconds=12.0,
    )

    def make(**changes: Any) -> Outcome:
        return replace(outcome, **changes)

    return make
