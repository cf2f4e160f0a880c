"""The report: one HTML page that needs nothing beside itself."""

from __future__ import annotations

import base64
import io
from html import escape
from importlib.resources import files
from platform import platform, python_version
from string import Template

import matplotlib.image
import numpy as np

from roost import __version__
from roost.demo.charts import COLOURS, evidence_chart, latency_chart, quality_chart, switch_chart
from roost.demo.images import ImageSet, Pixels
from roost.demo.outcome import EMBEDDED, MAX_SWITCH_S, Example, K, Outcome, in_milliseconds
from roost.lifecycle.livetest import Side

_SIDES: tuple[Side, Side] = ("champion", "challenger")


def render_report(outcome: Outcome) -> str:
    """Return the page. Styles, plots and pictures are within it; it loads nothing."""
    template = Template(files("roost.demo").joinpath("report.html").read_text(encoding="utf-8"))
    old, new = outcome.qualities
    sides: dict[str, Side] = {quality.deployment: quality.side for quality in outcome.qualities}
    return template.substitute(
        title=f"Roost demo: {outcome.images.name}",
        verdict="Every promise held." if outcome.kept else "A promise was broken.",
        verdict_class="kept" if outcome.kept else "broken",
        summary=_summary(outcome),
        champion_colour=COLOURS["champion"],
        challenger_colour=COLOURS["challenger"],
        tiles="".join(
            (
                _tile(f"{outcome.trace.n_failed}", f"failed searches of {outcome.trace.n_queries:,}"),
                _tile(
                    in_milliseconds(max(switch.seconds for switch in outcome.switches)),
                    f"slowest of {len(outcome.switches)} switches; allowed are {in_milliseconds(MAX_SWITCH_S)}",
                ),
                _tile(f"{old.precision:.3f} → {new.precision:.3f}", f"precision@{K}, champion to challenger"),
                _tile(f"{outcome.live_test.looks[-1].n_queries}", "live queries until the test decided"),
            )
        ),
        promises=_rows([(_mark(p.kept), escape(p.text), escape(p.measured)) for p in outcome.promises]),
        steps=_rows([(escape(s.name), escape(s.result), f"{s.seconds:.2f} s") for s in outcome.steps]),
        quality_chart=quality_chart(outcome.qualities),
        evidence_chart=evidence_chart(outcome.live_test),
        alpha=f"{outcome.live_test.alpha:.0%}".replace("%", " %"),
        latency=_latency(outcome),
        latency_chart=latency_chart(outcome.trace, outcome.steps, outcome.switches, sides),
        switch_chart=switch_chart(outcome.trace, outcome.switches, sides),
        switches=_rows(
            [
                (
                    escape(s.action.capitalize()),
                    escape(s.champion),
                    in_milliseconds(s.seconds),
                    in_milliseconds(s.longest_gap_s),
                    in_milliseconds(s.call_s),
                )
                for s in outcome.switches
            ]
        ),
        old_name=escape(f"{old.deployment} ({old.model})"),
        new_name=escape(f"{new.deployment} ({new.model})"),
        pictures="".join(_example(outcome.images, example) for example in outcome.examples),
        ledger=_rows(
            [
                (
                    str(e.seq),
                    escape(e.at[:19].replace("T", " ")),
                    escape(e.action),
                    escape(e.subject),
                    escape(e.reason),
                    f"<code>{escape(e.hash[:12])}</code>",
                )
                for e in outcome.ledger
            ]
        ),
        foot=escape(f"Roost {__version__}, Python {python_version()}, {platform()}"),
    )


def _summary(outcome: Outcome) -> str:
    images = outcome.images
    where = "in this process" if outcome.uri == EMBEDDED else f"on Milvus at {outcome.uri}"
    return escape(
        f"{len(images.gallery):,} images of {images.name}, searched {where}. A client searched without pause while "
        f"the better model was backfilled, tested on live traffic, promoted, rolled back and promoted again. "
        f"The whole run took {outcome.seconds:.0f} s."
    )


def _latency(outcome: Outcome) -> str:
    half, most = np.percentile(outcome.trace.latency_s, (50, 99))
    return f"Half of all searches took less than {in_milliseconds(half)}, 99 of 100 less than {in_milliseconds(most)}."


def _tile(figure: str, text: str) -> str:
    return f"<div class='tile'><b>{escape(figure)}</b><span>{escape(text)}</span></div>"


def _rows(rows: list[tuple[str, ...]]) -> str:
    return "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)


def _mark(right: bool) -> str:
    return "<span class='yes'>✓</span>" if right else "<span class='no'>✗</span>"


def _example(images: ImageSet, example: Example) -> str:
    label = images.held_out_labels[example.query]
    query = _picture(images.held_out[example.query], images, f"query: {images.classes[label]}")
    cells = [f"<td class='query'>{query}<span>{escape(images.classes[label])}</span></td>"]
    for side in _SIDES:
        answers = []
        for row in example.answers[side]:
            right = images.gallery_labels[row] == label
            name = images.classes[images.gallery_labels[row]]
            picture = _picture(images.gallery[row], images, f"{name}, {'right' if right else 'wrong'}")
            answers.append(f"<figure class='{'right' if right else 'wrong'}'>{picture}</figure>")
        n_right = int((images.gallery_labels[list(example.answers[side])] == label).sum())
        cells.append(f"<td><div class='answers'>{''.join(answers)}<em>{n_right}/{len(answers)}</em></div></td>")
    return f"<tr>{''.join(cells)}</tr>"


def _picture(pixels: Pixels, images: ImageSet, text: str) -> str:
    """Return an image element that holds the picture as PNG, dark ink on a light ground."""
    png = io.BytesIO()
    matplotlib.image.imsave(
        png, np.asarray(pixels).reshape(images.shape), format="png", cmap="gray_r", vmin=0.0, vmax=1.0
    )
    data = base64.b64encode(png.getvalue()).decode("ascii")
    return f"<img alt='{escape(text)}' title='{escape(text)}' src='data:image/png;base64,{data}'>"
