"""Every chart is one well-formed SVG that says what it shows."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from roost.demo.charts import evidence_chart, latency_chart, quality_chart, switch_chart

SVG = "{http://www.w3.org/2000/svg}svg"
SIDES = {"image-pca-v1": "champion", "image-pca-v2": "challenger"}


@pytest.fixture(params=["quality", "evidence", "latency", "switch"])
def chart(request, make_outcome):
    outcome = make_outcome()
    draw = {
        "quality": lambda: quality_chart(outcome.qualities),
        "evidence": lambda: evidence_chart(outcome.live_test),
        "latency": lambda: latency_chart(outcome.trace, outcome.steps, outcome.switches, SIDES),
        "switch": lambda: switch_chart(outcome.trace, outcome.switches, SIDES),
    }
    return draw[request.param]()


def test_a_chart_is_one_svg(chart):
    assert chart.startswith("<svg")
    assert ElementTree.fromstring(chart).tag == SVG


def test_a_chart_loads_nothing(chart):
    links = [
        value
        for element in ElementTree.fromstring(chart).iter()
        for name, value in element.attrib.items()
        if name.endswith("href")
    ]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def test_failed_queries_are_drawn(make_outcome):
    outcome = make_outcome()
    deployments = outcome.trace.deployments.copy()
    deployments[:3] = ""
    failed = replace(outcome.trace, deployments=deployments)
    whole = latency_chart(outcome.trace, outcome.steps, outcome.switches, SIDES)
    assert "#b91c1c" not in whole
    assert "#b91c1c" in latency_chart(failed, outcome.steps, outcome.switches, SIDES)
