"""Model cards: what is recorded of a model version, and what its authors say of it, as one page of Markdown.

Source of the sections: Mitchell et al., "Model cards for model reporting", FAT* 2019.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from roost.lifecycle.governance.data import KnownData
from roost.lifecycle.governance.requests import Comment, Request
from roost.lifecycle.models.model_version import ModelVersion

SECTIONS: Mapping[str, str] = {
    "intended_use": "Intended use",
    "limitations": "Limitations",
    "ethical_considerations": "Ethical considerations",
    "caveats": "Caveats and recommendations",
}
"""What only people can write, with its title."""

CARD_TAG = "card."
"""Before the name of a section in a version's tags."""

NOT_RECORDED = "Not recorded."

_INLINE = re.compile(r"[\\`*\[\]|]")
_LEADING = re.compile(r"^([#>+=~-]|\d+[.)])")


@dataclass(frozen=True)
class Card:
    """A model card.

    Attributes:
        version: as in `digits/2`.
        markdown: the page.
    """

    version: str
    markdown: str

    def __str__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        return self.markdown


@dataclass(frozen=True)
class Facts:
    """What is known of a version beside its own record.

    Attributes:
        written: texts of people by the names of SECTIONS.
        data: what it used, each with what for.
        deployments: endpoint, name and state.
        served: endpoint, from, until and reason of each time as a champion.
        tests: one line for each live test in which it took part.
    """

    written: Mapping[str, str]
    data: Sequence[tuple[str, KnownData]]
    deployments: Sequence[tuple[str, str, str]]
    served: Sequence[tuple[str, str, str | None, str]]
    tests: Sequence[str]
    requests: Sequence[Request]
    comments: Sequence[Comment]


def card(version: ModelVersion, facts: Facts) -> Card:
    """Return the card of a model version; what is not recorded is said not to be."""
    parts = [
        f"# Model card: {_plain(str(version))}",
        _paragraph(version.description) or NOT_RECORDED,
        "## Model",
        _list(
            {
                "Owner": version.owner,
                "Kind": version.kind or None,
                "Task": version.task,
                "Registered": version.created_at or None,
                "Fingerprint": version.fingerprint,
                "Run": version.run_id,
                "Code": None if version.code is None else version.code + (" with changes" * version.code_is_dirty),
                "Input": _signature(version, "input"),
                "Output": _signature(version, "output"),
                "Tags": _tags(version) or None,
            }
        ),
        "## Metrics",
        _table(("Metric", "Value"), [(name, f"{value:.6g}") for name, value in sorted(version.metrics.items())]),
        "## Data",
        _table(
            ("Used for", "Name", "Rows", "State", "Digest"),
            [(role, one.name, _number(one.n_rows), _state(one), one.digest) for role, one in facts.data],
        ),
        "## Deployments",
        _table(("Endpoint", "Deployment", "State"), facts.deployments),
        "## In production",
        _table(
            ("Endpoint", "From", "Until", "Reason"),
            [(endpoint, since, until or "now", reason) for endpoint, since, until, reason in facts.served],
        ),
        "## Live tests",
        _bullets(facts.tests),
    ]
    for name, title in SECTIONS.items():
        parts += [f"## {title}", _paragraph(facts.written.get(name, "")) or NOT_RECORDED]
    parts += ["## Reviews and comments", _bullets([*_reviews(facts.requests), *_said(facts.comments)])]
    return Card(str(version), "\n\n".join(parts) + "\n")


def _reviews(requests: Iterable[Request]) -> list[str]:
    lines = []
    for request in requests:
        said = "; ".join(f"{one.actor}: {one.decision} {one.comment}".strip() for one in request.decisions)
        lines.append(
            f"{request.requested_at}, {request.requested_by} asked: {request.reason} ({request.state}. {said})"
        )
    return lines


def _said(comments: Iterable[Comment]) -> list[str]:
    return [f"{one.at}, {one.actor}: {one.text}" for one in comments]


def _list(values: Mapping[str, str | None]) -> str:
    return "\n".join(f"- {name}: {_plain(value) if value else 'not recorded'}" for name, value in values.items())


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_paragraph(line)}" for line in lines) or NOT_RECORDED


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return NOT_RECORDED
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_plain(value) for value in line)} |" for line in lines)


def _plain(text: str) -> str:
    """Return text of people that cannot become markup within a line: no tag, link, picture or code."""
    escaped = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return _INLINE.sub(lambda found: f"\\{found[0]}", escaped)


def _paragraph(text: str) -> str:
    """Return text of people that cannot become markup at the beginning of a line either: no heading, no list."""
    return _LEADING.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", _plain(text))


def _tags(version: ModelVersion) -> str:
    """Return the tags that are no sections of the card."""
    own = {name: value for name, value in version.tags.items() if not name.startswith(CARD_TAG)}
    return ", ".join(f"{name}={value}" for name, value in sorted(own.items()))


def _number(value: int | None) -> str:
    return f"{value:,}" if value is not None else "not recorded"


def _state(data: KnownData) -> str:
    return data.state if not data.reason else f"{data.state}: {data.reason}"


def _signature(version: ModelVersion, side: str) -> str | None:
    described = version.signature.get(side)
    return str(described) if described is not None else None
