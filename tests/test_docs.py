"""What the pages under docs/ show works as it is printed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "```python" in page.read_text(encoding="utf-8")]
SAMPLE = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)


def test_the_guides_have_samples() -> None:
    assert {page.name for page in PAGES} >= {"vectors.md", "filters.md", "models.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_samples_of_a_page_print_what_it_says(
    page: Path, work_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They run from top to bottom in an empty folder; a sample without a block of output prints nothing."""
    names: dict[str, object] = {}
    for sample in SAMPLE.finditer(page.read_text(encoding="utf-8")):
        exec(compile(sample["code"], page.name, "exec"), names)
        assert capsys.readouterr().out == (sample["output"] or ""), sample["code"]


def test_every_page_is_named_by_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert f"docs/{page.name}" in readme


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    spec = importlib.util.spec_from_file_location("cli_docs", ROOT / ".ci" / "cli_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == module.page(), "run `make format`"
