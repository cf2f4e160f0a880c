from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from roost.errors import InvalidArgument, ModelNotFound
from roost.lifecycle.governance.cards import NOT_RECORDED, SECTIONS, Facts, card
from roost.lifecycle.models.model_files import ModelFiles
from roost.lifecycle.models.model_version import ModelVersion
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.workspace import Workspace
from tests.lifecycle.conftest import Digits

NOTHING = Facts(written={}, data=(), deployments=(), served=(), tests=(), requests=(), comments=())
BARE = ModelVersion(
    name="digits",
    version=2,
    fingerprint="sha256:77",
    dim=4,
    uri="models:/digits/2",
    run_id=None,
    metrics={},
    tags={},
    aliases=(),
    files=ModelFiles("digits/2", "sha256:0"),
)


def sections(markdown: str) -> dict[str, str]:
    """Return the text below each heading."""
    parts = re.split(r"^## (.*)\n", markdown, flags=re.MULTILINE)
    return {title: text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_a_card_says_what_is_not_recorded_and_invents_nothing() -> None:
    found = sections(card(BARE, NOTHING).markdown)
    assert found.pop("Model").splitlines() == [
        "- Owner: not recorded",
        "- Kind: not recorded",
        "- Task: embedding",
        "- Registered: not recorded",
        "- Fingerprint: sha256:77",
        "- Run: not recorded",
        "- Code: not recorded",
        "- Input: not recorded",
        "- Output: not recorded",
        "- Tags: not recorded",
    ]
    assert found.keys() >= set(SECTIONS.values())
    assert set(found.values()) == {NOT_RECORDED}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("![x](http://example.org/seen.png)", r"!\[x\](http://example.org/seen.png)"),
        ("&lt;b> & `code` *loud*", r"&amp;lt;b> &amp; \`code\` \*loud\*"),
        ("good\n\n## Reviews\n\nall approved", "good ## Reviews all approved"),
        ("# Approved", r"\# Approved"),
        ("> quoted", r"\> quoted"),
        ("- a list", r"\- a list"),
        ("12. of May", r"12\. of May"),
        ("a | b \\| c", "a \\| b \\\\\\| c"),
    ],
)
def test_texts_of_people_do_not_become_markup(text: str, shown: str) -> None:
    version = replace(BARE, description=text, tags={"team": text, "card.limitations": "not a tag"})
    made = card(version, replace(NOTHING, written={"limitations": text}, tests=[text]))
    found = sections(made.markdown)
    assert made.markdown.split("\n\n")[1] == shown
    assert found["Limitations"] == shown
    assert found["Live tests"] == f"- {shown}"
    assert "not a tag" not in made.markdown
    assert set(found) == set(sections(card(BARE, NOTHING).markdown)), "no heading was added"


def test_a_table_keeps_its_columns() -> None:
    rows = [("shop", "v1 | v2", "ready"), ("shop\n| x", "v3", "ready")]
    lines = sections(card(BARE, replace(NOTHING, deployments=rows)).markdown)["Deployments"].splitlines()
    assert len(lines) == 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {4}


def test_the_card_of_a_version_that_was_used(
    workspace: Workspace, empty_endpoint: SearchEndpoint, digits: Digits
) -> None:
    governance, name = workspace.governance, empty_endpoint.name
    data = workspace.data.describe(digits.images[:300], name="digits-may")
    with workspace.runs.start("pca") as run:
        version: Any = workspace.models.register(
            "digits", digits.embedder(4), run=run, data=data, owner="ann", metrics={"recall": 0.93}, tags={"team": "x"}
        )
    empty_endpoint.promote(empty_endpoint.deploy(version, digits.records(0, 60)), reason="the first")
    challenger = empty_endpoint.deploy(version, digits.records(0, 60), name="again")
    test = empty_endpoint.start_test(challenger)
    empty_endpoint.promote(challenger, reason="no worse")
    governance.write_card("digits/1", intended_use="Finding scanned digits.", limitations="One handwriting.")
    request = governance.request_review("digits/1", "is it fair?")
    governance.approve(request.id, "it is")
    governance.comment(f"{name}/again", "it is fast")

    found = sections(str(governance.card(version)))
    for line in (
        "Owner: ann",
        "Kind: sklearn",
        f"Run: {run.id}",
        "Tags: team=x",
        f"Fingerprint: {version.fingerprint}",
    ):
        assert f"- {line}" in found["Model"].splitlines()
    assert "| recall | 0.93 |" in found["Metrics"]
    assert f"| train | digits-may | 300 | good | {data.digest} |" in found["Data"]
    assert f"| {name} | digits-v1 | ready |" in found["Deployments"]
    assert [line.rsplit("| ", 1)[1] for line in found["In production"].splitlines()[2:]] == [
        "the first |",
        "no worse |",
    ]
    assert "| now |" in found["In production"]
    assert found["Live tests"].startswith(f"- test {test.id} ")
    assert (found["Intended use"], found["Limitations"]) == ("Finding scanned digits.", "One handwriting.")
    assert found["Ethical considerations"] == NOT_RECORDED
    assert "is it fair?" in found["Reviews and comments"] and "it is fast" in found["Reviews and comments"]
    (entry,) = (entry for entry in workspace.ledger.entries() if entry.action == "card.write")
    assert entry.evidence["limitations"] == "One handwriting."
    with pytest.raises(InvalidArgument, match="no section"):
        governance.write_card("digits/1", price="low")
    with pytest.raises(InvalidArgument):
        governance.write_card("digits/1", caveats=" ")
    with pytest.raises(InvalidArgument, match="digits/2"):
        governance.card("digits")
    with pytest.raises(ModelNotFound):
        governance.card("digits/9")
