from __future__ import annotations

import urllib.request

import pytest

from roost.errors import InvalidArgument
from roost.lifecycle.monitor import exposition
from roost.lifecycle.monitor.exposition import Figures
from roost.lifecycle.monitor.histogram import Histogram
from roost.lifecycle.monitor.summary import Drift, Moments, Summary

SEEN = Figures(
    {"shop": {"v1": Summary(n_requests=3, n_errors=1, latency=Histogram.of([0.0005, 0.02, 99.0]))}},
    {"shop": {"v1": Summary(recall=Moments.of([0.9]), drift={"queries": Drift(0.25, 1, 10, "ks")})}},
    (),
)


def test_the_figures_are_named_by_convention_and_counted_exactly() -> None:
    lines = exposition.text(lambda: SEEN).splitlines()
    labels = 'deployment="v1",endpoint="shop"'
    assert f"roost_endpoint_requests_total{{{labels}}} 3.0" in lines
    assert f"roost_endpoint_errors_total{{{labels}}} 1.0" in lines
    assert f'roost_endpoint_latency_seconds_bucket{{{labels},le="0.001"}} 1.0' in lines
    assert f'roost_endpoint_latency_seconds_bucket{{{labels},le="10"}} 2.0' in lines
    assert f'roost_endpoint_latency_seconds_bucket{{{labels},le="+Inf"}} 3.0' in lines
    assert f"roost_endpoint_recall{{{labels}}} 0.9" in lines
    assert f'roost_endpoint_drift_p_value{{{labels},kind="queries"}} 0.25' in lines
    assert 'roost_endpoint_alerts{endpoint="shop",severity="critical"} 0.0' in lines
    assert not any(line.startswith(("process_", "python_")) for line in lines)


def test_the_figures_are_served_as_they_are_at_each_scrape() -> None:
    shown = [SEEN]
    with exposition.serve(lambda: shown[0], 0, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=10) as response:
            assert b"roost_endpoint_requests_total" in response.read()
        shown[0] = Figures({}, {}, ())
        with opener.open(url, timeout=10) as response:
            assert b"roost_endpoint_requests_total{" not in response.read()
        with pytest.raises(InvalidArgument, match="cannot be served"):
            exposition.serve(lambda: SEEN, server.port, "127.0.0.1")
