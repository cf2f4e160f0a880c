"""`roost demo`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from roost.demo import walk
from roost.demo.images import load_images


@pytest.fixture
def few_digits(monkeypatch):
    """Let the demo take few enough images to be quick."""
    images = load_images("digits")
    few = replace(
        images,
        gallery=images.gallery[:300],
        gallery_labels=images.gallery_labels[:300],
        held_out=images.held_out[:150],
        held_out_labels=images.held_out_labels[:150],
    )
    monkeypatch.setattr("roost.demo.images.load_images", lambda name: few)
    # How fast a busy machine is does not belong into a test.
    monkeypatch.setattr("roost.demo.outcome.MAX_SWITCH_S", 60.0)


@pytest.mark.slow
def test_the_demo_prints_its_steps_and_writes_the_report(roost, few_digits, tmp_path):
    result = roost("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.stderr
    for words in (
        "Train and register PCA-4",
        "Backfill the challenger under traffic",
        "No search fails",
        "Report: file:",
    ):
        assert words in result.stdout
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "Every promise held." in page
    assert roost("ledger", "verify", tmp_path / "demo" / "workspace").exit_code == 0


@pytest.mark.slow
def test_json_is_all_that_is_printed(roost, few_digits, tmp_path):
    result = roost("demo", "--out", tmp_path / "demo", "--json")
    figures = json.loads(result.stdout)
    assert figures["kept"] is True
    assert figures["report"] == str(tmp_path / "demo" / "report.html")
    assert figures["background"]["n_failed"] == 0


@pytest.mark.slow
def test_a_broken_promise_ends_with_1_and_is_named(roost, few_digits, tmp_path, monkeypatch):
    monkeypatch.setattr("roost.demo.outcome.MAX_SWITCH_S", 0.0)
    result = roost("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 1
    assert "a promise was broken: each switch takes less than" in result.stderr
    assert "A promise was broken." in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")


def test_ctrl_c_ends_quietly_with_130(roost, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(walk, "run_demo", interrupted)
    result = roost("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 130
    assert result.stderr.endswith("roost: interrupted; nothing is left running\n")
    assert "Traceback" not in result.output


def test_a_folder_with_other_files_is_refused(roost, tmp_path):
    (tmp_path / "thesis.tex").touch()
    result = roost("demo", "--out", tmp_path)
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_missing_libraries_are_named_with_the_extra(roost, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "roost.demo.images")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    result = roost("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 1
    assert "pip install 'roost[demo]'" in result.stderr


def test_a_missing_library_of_the_report_is_told_before_the_work(roost, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    for module in ("report", "charts"):
        monkeypatch.delitem(sys.modules, f"roost.demo.{module}", raising=False)
    result = roost("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 1
    assert "pip install 'roost[demo]'" in result.stderr and result.stderr.count("roost: ") == 1
    assert not (tmp_path / "demo").exists()


def test_a_missing_data_set_names_its_package(roost, tmp_path, monkeypatch):
    load = load_images
    monkeypatch.setattr("roost.demo.images.load_images", lambda name: load(name, tmp_path / "nowhere"))
    result = roost("demo", "--data", "fashion-mnist", "--out", tmp_path / "demo")
    assert result.exit_code == 1
    assert "dataset-fashion-mnist" in result.stderr


def test_a_server_that_is_not_there_is_one_line(roost, tmp_path):
    result = roost("demo", "--uri", "http://127.0.0.1:9", "--out", tmp_path / "demo")
    assert result.exit_code == 1
    assert "127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.stderr
