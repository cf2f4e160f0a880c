"""A version of a registered model, and how MLflow's tags hold what MLflow has no place for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from roost.errors import ModelNotFound
from roost.lifecycle import html
from roost.lifecycle.models.data_versions import DataVersion, data_versions_from_json, data_versions_to_json
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.models.model import Model
from roost.lifecycle.models.model_files import ModelFiles
from roost.lifecycle.models.predictors.base import Predictor
from roost.lifecycle.models.runs import CodeVersion
from roost.lifecycle.models.signature import Signature
from roost.lifecycle.store.database import utc_text

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

EMBEDDING = "embedding"

FILES = "roost.files"
_FINGERPRINT, _DIM, _METRIC = "roost.fingerprint", "roost.dim", "metric."
_KIND, _TASK, _DATA, _SIGNATURE, _OWNER = "roost.kind", "roost.task", "roost.data", "roost.signature", "roost.owner"
_COMMIT, _DIRTY = "roost.code", "roost.code.dirty"
_SHOWN_DIGITS = 12


@dataclass(frozen=True, slots=True, repr=False)
class ModelVersion:
    """A version of a registered model.

    Attributes:
        fingerprint: digest of the model and its configuration; names the space of an embedder's vectors.
        dim: length of an embedder's vectors; 0 for a predictor.
        uri: MLflow's URI of the version.
        run_id: the MLflow run that made it; None where it was registered without one.
        aliases: MLflow's aliases that named it when it was read.
        kind: under which the stored model is loaded, as in `sklearn`; empty for versions of before kinds were kept.
        task: `embedding`, `classification` or `regression`.
        data_versions: what it was made from.
        code: Git's commit of the code that made it; None where it is not known.
        code_is_dirty: whether files differed from that commit.
        signature: shapes and types of what goes in and comes out.
        owner: who answers for it.
        created_at: ISO 8601 in UTC.
    """

    name: str
    version: int
    fingerprint: str
    dim: int
    uri: str
    run_id: str | None
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    files: ModelFiles
    kind: str = ""
    task: str = EMBEDDING
    data_versions: tuple[DataVersion, ...] = ()
    code: str | None = None
    code_is_dirty: bool = False
    signature: Signature = field(default_factory=dict)
    owner: str | None = None
    description: str = ""
    created_at: str = ""

    @property
    def data(self) -> tuple[str, ...]:
        """The digests of the data that it was made from."""
        return tuple(version.digest for version in self.data_versions)

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    def __repr__(self) -> str:
        what = f"dim={self.dim}" if self.task == EMBEDDING else f"task={self.task!r}"
        shown = [repr(str(self)), f"kind={self.kind!r}", what, f"fingerprint={self.fingerprint[: 7 + _SHOWN_DIGITS]!r}"]
        shown += [f"run_id={self.run_id!r}"] if self.run_id else []
        shown += [f"metrics={dict(self.metrics)}"] if self.metrics else []
        shown += [f"aliases={list(self.aliases)}"] if self.aliases else []
        return f"ModelVersion({', '.join(shown)})"

    def _repr_html_(self) -> str:
        code = f"{self.code[:_SHOWN_DIGITS]}{' with changes' if self.code_is_dirty else ''}" if self.code else None
        return html.properties(
            str(self),
            {
                "description": self.description or None,
                "owner": self.owner,
                "kind": self.kind or None,
                "task": self.task,
                "input": self.signature.get("input"),
                "output": self.signature.get("output"),
                "metrics": self.metrics,
                "aliases": self.aliases,
                "run": self.run_id,
                "code": code,
                "data": [f"{version.name} {version.digest[: 7 + _SHOWN_DIGITS]}" for version in self.data_versions],
                "fingerprint": self.fingerprint,
                "registered": self.created_at or None,
                "tags": self.tags,
            },
        )

    def evidence(self) -> dict[str, Any]:
        """Return what the ledger keeps of a registration: enough to tell the version from any other later."""
        return {
            "fingerprint": self.fingerprint,
            "checksum": self.files.checksum,
            "trusted": list(self.files.trusted),
            "run_id": self.run_id,
            "code": self.code,
            "data": list(self.data),
        }


def tags_of(
    model: Model,
    files: ModelFiles,
    metrics: Mapping[str, float],
    data: tuple[DataVersion, ...],
    code: CodeVersion,
    signature: Signature,
    owner: str | None,
) -> dict[str, str]:
    """Return the tags that a version gets beside those of its user."""
    tags = {f"{_METRIC}{key}": repr(float(value)) for key, value in metrics.items()}
    tags |= {FILES: files.to_json(), _FINGERPRINT: model.fingerprint, _KIND: model.kind, _TASK: task_of(model)}
    tags |= {_DIM: str(model.dim if isinstance(model, Embedder) else 0), _SIGNATURE: json.dumps(signature)}
    if data:
        tags[_DATA] = data_versions_to_json(data)
    if code.commit is not None:
        tags |= {_COMMIT: code.commit, _DIRTY: str(code.is_dirty).lower()}
    if owner is not None:
        tags[_OWNER] = owner
    return tags


def task_of(model: Model) -> str:
    """Return what a model is for: its task where it predicts, else `embedding`."""
    return model.task if isinstance(model, Predictor) else EMBEDDING


def version_of(stored: MlflowVersion) -> ModelVersion:
    """Return a version as MLflow stores it.

    Raises: ModelNotFound: it was made with MLflow alone.
    """
    tags: dict[str, str] = dict(stored.tags)
    if FILES not in tags:
        raise ModelNotFound(f"{stored.name}/{stored.version} is MLflow's alone: register it through Workspace.models")
    return ModelVersion(
        name=stored.name,
        version=int(stored.version),
        fingerprint=tags.pop(_FINGERPRINT),
        dim=int(tags.pop(_DIM)),
        uri=f"models:/{stored.name}/{stored.version}",
        run_id=stored.run_id or None,
        files=ModelFiles.from_json(tags.pop(FILES)),
        metrics={key.removeprefix(_METRIC): float(tags.pop(key)) for key in sorted(tags) if key.startswith(_METRIC)},
        aliases=tuple(stored.aliases or ()),
        kind=tags.pop(_KIND, ""),
        task=tags.pop(_TASK, EMBEDDING),
        data_versions=data_versions_from_json(tags.pop(_DATA, "[]")),
        code=tags.pop(_COMMIT, None),
        code_is_dirty=tags.pop(_DIRTY, "false") == "true",
        signature=json.loads(tags.pop(_SIGNATURE, "{}")),
        owner=tags.pop(_OWNER, None),
        description=stored.description or "",
        created_at=_time(stored.creation_timestamp),
        tags=tags,
    )


def _time(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    return utc_text(datetime.fromtimestamp(milliseconds / 1000, timezone.utc))
