"""The model registry: MLflow's registered models, versions, tags and aliases, with checked files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from roost.errors import InvalidArgument, ModelNotFound
from roost.lifecycle import ledger
from roost.lifecycle.embedders.base import Embedder
from roost.lifecycle.model_files import ModelFiles, load_model, save_model
from roost.lifecycle.names import check_name, suggestion
from roost.lifecycle.runs import Run
from roost.lifecycle.store import Store
from roost.lifecycle.tracking import Tracking

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

_FILES, _FINGERPRINT, _DIM, _METRIC = "roost.files", "roost.fingerprint", "roost.dim", "metric."


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a registered model.

    Attributes:
        fingerprint: digest of the model and its configuration; names the space of its vectors.
        uri: MLflow's URI of the version.
        run_id: the MLflow run that made it; None where it was registered without one.
        aliases: MLflow's aliases that named it when it was read.
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
    files: ModelFiles = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


class Models:
    """The registered models of a workspace, which MLflow's own UI and code see too."""

    def __init__(self, tracking: Tracking, store: Store, actor: str) -> None:
        self._tracking = tracking
        self._store = store
        self._actor = actor

    def register(
        self,
        name: str,
        embedder: Embedder,
        run: Run | str | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        trusted: Collection[str] = (),
    ) -> ModelVersion:
        """Store an embedder as the next version of a registered model, which is made if it is new.

        Args:
            run: the run that trained it, or its id.
            metrics: what was measured; also logged to the run.
            trusted: types beside the safe ones that the stored model may hold. The registry
                remembers them together with the checksum of the very files that they are for.
        Raises:
            InvalidName: the name is not allowed.
            InvalidArgument: it is not an embedder.
            UnsafeModel: the stored model holds other types; the message names them.
        """
        check_name("model", name)
        if not isinstance(embedder, Embedder):
            kind = type(embedder).__name__
            raise InvalidArgument(
                f"a model is registered as an Embedder, not as {kind}: wrap a fitted scikit-learn transformer as "
                f"SklearnEmbedder({kind}(...)), or derive a class from roost.lifecycle.Embedder"
            )
        files = save_model(self._tracking.artifacts, name, embedder, trusted)
        client = self._tracking.client
        if not client.search_registered_models(f"name = '{name}'", max_results=1):
            client.create_registered_model(name)
        run_id = run.id if isinstance(run, Run) else run
        stored = client.create_model_version(
            name,
            source=(self._tracking.artifacts / files.path).absolute().as_uri(),
            run_id=run_id,
            tags={
                **(tags or {}),
                **{f"{_METRIC}{key}": repr(float(value)) for key, value in (metrics or {}).items()},
                _FILES: files.to_json(),
                _FINGERPRINT: embedder.fingerprint,
                _DIM: str(embedder.dim),
            },
        )
        if run_id is not None:
            for key, value in (metrics or {}).items():
                client.log_metric(run_id, key, float(value))
        version = _version(stored)
        with self._store.write() as session:
            evidence = {"fingerprint": version.fingerprint, "run_id": run_id, "trusted": list(files.trusted)}
            ledger.append(session, self._actor, "register", None, str(version), evidence=evidence)
        return version

    def get(self, name: str, version: int | str) -> ModelVersion:
        """Return a version by its number or by an alias.

        Raises: ModelNotFound: there is no such model, version or alias.
        """
        from mlflow.exceptions import MlflowException

        client = self._tracking.client
        try:
            if isinstance(version, int):
                return _version(client.get_model_version(name, str(version)))
            return _version(client.get_model_version_by_alias(name, version))
        except MlflowException as error:
            raise ModelNotFound(self._not_found(name, version)) from error

    def _not_found(self, name: str, version: int | str) -> str:
        models = self.list()
        if name not in models:
            return f"there is no model {name!r} ({suggestion(str(name), models)})"
        if isinstance(version, int):
            found = self._tracking.client.search_model_versions(f"name = '{name}'", max_results=1000)
            numbers = ", ".join(str(number) for number in sorted(int(one.version) for one in found)) or "none"
            return f"model {name!r} has no version {version} (there are: {numbers})"
        aliases = self._tracking.client.get_registered_model(name).aliases
        return f"model {name!r} has no alias {version!r} ({suggestion(version, aliases)})"

    def load(
        self, version: ModelVersion | str, alias: int | str | None = None, trusted: Collection[str] = ()
    ) -> Embedder:
        """Return the embedder of a version, after checking its files.

        Args:
            version: the version, or the model's name with the number or alias in `alias`.
        Raises:
            ModelNotFound: there is no such version.
            Corruption: a file is missing or damaged; the message names it.
            UnsafeModel: the model holds types that are not trusted.
        """
        if isinstance(version, str):
            if alias is None:
                raise InvalidArgument(
                    f"say which version of {version!r}: load({version!r}, 1) or load({version!r}, 'champion')"
                )
            version = self.get(version, alias)
        return load_model(self._tracking.artifacts, version.files, trusted)

    def load_files(self, files: ModelFiles) -> Embedder:
        """Return the embedder of stored files, after checking them; without asking MLflow."""
        return load_model(self._tracking.artifacts, files)

    def list(self) -> list[str]:
        """Return the names of the registered models."""
        found: list[str] = []
        token: str | None = None
        while True:
            page = self._tracking.client.search_registered_models(page_token=token)
            found += [model.name for model in page]
            token = page.token
            if not token:
                return sorted(found)

    def versions(self, name: str) -> Sequence[ModelVersion]:
        """Return the versions of a model that Roost registered, oldest first; none for an unknown name."""
        check_name("model", name)
        found = self._tracking.client.search_model_versions(f"name = '{name}'", max_results=1000)
        numbers = sorted(int(version.version) for version in found if _FILES in version.tags)
        return [self.get(name, number) for number in numbers]

    def point_aliases(self, name: str, versions: Mapping[str, int | None]) -> None:
        """Let aliases name versions, or nothing; without a write where they do already."""
        client = self._tracking.client
        aliases = client.get_registered_model(name).aliases
        for alias, version in versions.items():
            current = aliases.get(alias)
            if version is None:
                if current is not None:
                    client.delete_registered_model_alias(name, alias)
            elif current is None or int(current) != version:
                client.set_registered_model_alias(name, alias, str(version))


def _version(stored: MlflowVersion) -> ModelVersion:
    tags: dict[str, Any] = dict(stored.tags)
    if _FILES not in tags:
        raise ModelNotFound(f"{stored.name}/{stored.version} is MLflow's alone: register it through Workspace.models")
    return ModelVersion(
        name=stored.name,
        version=int(stored.version),
        fingerprint=tags.pop(_FINGERPRINT),
        dim=int(tags.pop(_DIM)),
        uri=f"models:/{stored.name}/{stored.version}",
        run_id=stored.run_id or None,
        files=ModelFiles.from_json(tags.pop(_FILES)),
        metrics={key.removeprefix(_METRIC): float(tags.pop(key)) for key in sorted(tags) if key.startswith(_METRIC)},
        tags=tags,
        aliases=tuple(stored.aliases or ()),
    )
