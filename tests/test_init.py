"""What `import roost` offers, and what it says when a part is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import roost


def test_every_name_is_there() -> None:
    for name in roost.__all__:
        assert getattr(roost, name) is not None
    assert dir(roost) == roost.__all__


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Wrkspace'"):
        _ = roost.Wrkspace


def test_the_extra_that_is_missing_is_named() -> None:
    program = """
import sys
for library in ("sqlalchemy", "sklearn", "skops", "mlflow", "alembic"):
    sys.modules[library] = None
import roost
for name in ("Workspace", "OpenAIEmbedder"):
    try:
        getattr(roost, name)
    except roost.errors.MissingDependency as error:
        print(error.message)
"""
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "roost.Workspace needs " in seen.stdout and "roost.OpenAIEmbedder needs " in seen.stdout
    assert seen.stdout.count("roost[lifecycle]") == 2
