"""The report is one page that needs nothing beside itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from roost.demo.report import render_report

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects a page's text and links, and checks that its elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.classes: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        self.classes += [value for name, value in attrs if name == "class" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_the_page_is_whole_and_loads_nothing(make_outcome):
    text = render_report(make_outcome())
    page = Page(text)
    assert page.open == []
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert not re.search(r"@import|url\(\s*['\"]?http|<script", text)
    assert text.count("<svg") == 4


def test_the_page_says_what_was_measured(make_outcome):
    text = Page(render_report(make_outcome())).text
    for words in (
        "Every promise held.",
        "failed searches of 400",
        "0.700 → 0.900",
        "Backfill the challenger under traffic 300 images 1.00 s",
        "Promote image-pca-v2 4.0 ms 10 ms 30 ms",
        "challenger after 2 queries, p = 0.04",
        "at most 5 %",
        "took less than 2.0 ms",
    ):
        assert words in text


def test_names_and_reasons_are_text_and_not_markup(make_outcome):
    page = Page(render_report(make_outcome()))
    assert "it <won>" in page.text


def test_a_broken_promise_is_marked(make_outcome):
    page = Page(render_report(make_outcome(ledger_error="ledger row 2 was altered")))
    assert "A promise was broken." in page.text
    assert "✗ The ledger verifies ledger row 2 was altered" in page.text


def test_pictures_are_marked_right_or_wrong(make_outcome):
    outcome = make_outcome()
    labels = outcome.images.gallery_labels
    wanted = outcome.images.held_out_labels[0]
    found = [row for side in outcome.examples[0].answers.values() for row in side]
    page = Page(render_report(outcome))
    assert page.classes.count("right") == sum(int(labels[row] == wanted) for row in found)
    assert page.classes.count("wrong") == sum(int(labels[row] != wanted) for row in found)


def test_a_server_is_named(make_outcome):
    assert "on Milvus at http://127.0.0.1:19530" in Page(render_report(make_outcome(uri="http://127.0.0.1:19530"))).text
