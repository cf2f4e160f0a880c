"""The page at /docs: every route in one table, without a script and without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
code,pre{font:13px/1.4 ui-monospace,monospace}summary{cursor:pointer;padding:.2rem 0}
pre{background:#f4f4f4;padding:.7rem;overflow:auto}.method{display:inline-block;width:4.5rem;font-weight:600}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#e4e4e4}pre{background:#24272d}a{color:#8ab4f8}}"""


def page(document: Mapping[str, Any]) -> str:
    """Return an OpenAPI document as HTML."""
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    groups: dict[str, list[str]] = {}
    for tag, text in _operations(document):
        groups.setdefault(tag, []).append(text)
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(texts)}" for tag, texts in groups.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        f"<p>{escape(document['info']['description'])} "
        f'<a href="openapi.json">The OpenAPI document</a> is for programs.</p>{body}</body></html>'
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the group and the HTML of every operation."""
    schemas = document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts = [f"<p>{escape(operation['description'])}</p>"] if "description" in operation else []
            names = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
            if names:
                parts.append(f"<p>Query: {', '.join(f'<code>{escape(name)}</code>' for name in names)}</p>")
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is not None:
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                shown = schemas[name].get("properties", {}) if name else content["schema"]
                parts.append(f"<p>Body:</p><pre>{escape(json.dumps(shown, indent=1))}</pre>")
            for status, response in operation["responses"].items():
                parts.append(f"<p>{escape(status)}: {escape(response['description'])}</p>")
            yield (
                operation["tags"][0],
                f'<details><summary><span class="method">{method.upper()}</span><code>{escape(path)}</code> '
                f"{escape(operation['summary'])}</summary>{''.join(parts)}</details>",
            )
