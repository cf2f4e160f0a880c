"""The model registry: MLflow's registered models, versions, tags and aliases, with checked files."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import TYPE_CHECKING, Any

from roost.errors import Conflict, InvalidArgument, ModelNotFound, RoostError
from roost.lifecycle.actor import acting
from roost.lifecycle.models import registration
from roost.lifecycle.models.aliases import aliases_of
from roost.lifecycle.models.data_versions import DataVersion
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.models.environment import LOCK_FILE, environment_lock
from roost.lifecycle.models.model import Model
from roost.lifecycle.models.model_files import ModelFiles, fresh_path, load_model, read_beside, save_model
from roost.lifecycle.models.model_version import FILES, ModelVersion, tags_of, version_of
from roost.lifecycle.models.predictors.base import Predictor
from roost.lifecycle.models.preprocess.base import Batch
from roost.lifecycle.models.runs import Run, RunOrigin, code_version, origin_of
from roost.lifecycle.models.signature import Signature, signature_of
from roost.lifecycle.models.tracking import Tracking
from roost.lifecycle.names import check_name, suggestion
from roost.lifecycle.store import Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

__all__ = ["ModelVersion", "Models"]

_PAGE_SIZE = 1000


class Models:
    """The registered models of a workspace, which MLflow's own UI and code see too."""

    def __init__(self, tracking: Tracking, store: Store, actor: str, trusted: Collection[str] = ()) -> None:
        """Open the registry.

        Args:
            trusted: types and functions that this process trusts, beside those that the registry remembers.
        Raises: InvalidArgument: `trusted` is one text, not several.
        """
        if isinstance(trusted, str):
            raise InvalidArgument(f"trusted takes several names: trusted=[{trusted!r}]")
        self._tracking = tracking
        self._store = store
        self._actor = actor
        self._trusted = frozenset(trusted)

    def register(
        self,
        name: str,
        model: Model,
        run: Run | str | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        trusted: Collection[str] = (),
        data: DataVersion | Sequence[DataVersion] | None = None,
        owner: str | None = None,
        description: str = "",
        signature: Signature | Batch | None = None,
    ) -> ModelVersion:
        """Store a model as the next version of a registered model, which is made if it is new.

        With it go the code's version (the run's, or else that of the current directory), and the exact versions of
        all installed packages. If the process is killed on the way, opening the workspace finishes the registration
        or takes away what it left.

        Args:
            model: an `Embedder` or a `Predictor`.
            run: the run that trained it, or its id.
            metrics: what was measured; also logged to the run.
            trusted: types and functions beside the safe ones that the stored model may use. The registry
                remembers them together with the checksum of the very files that they are for.
            data: what it was made from, as `workspace.data.describe` gives it; by default the run's data.
            owner: who answers for it.
            signature: shapes and types of what goes in and comes out; or an example batch, from which it is read.
        Raises:
            InvalidName: the name is not allowed.
            InvalidArgument: it is not a model, there is no such run, a metric is no number, the data is no version of
                data, or a tag is one of Roost's own.
            InvalidData: the model does not take the example.
            UnsafeModel: the stored model holds other types; the message names them.
            PermissionDenied, ApprovalRequired: the actor may not register models.
        """
        check_name("model", name)
        _check_model(model)
        _check_tags(tags or {})
        _check_metrics(metrics or {})
        described = signature_of(model, signature)
        run_id = run.id if isinstance(run, Run) else run
        origin = origin_of(self._tracking.client, run_id) if run_id is not None else RunOrigin(code_version(), ())
        versions = _data_versions(data) if data is not None else origin.data
        note = registration.begin(self._store, acting(self._actor), name, fresh_path(name))
        try:
            files = save_model(
                self._tracking.artifacts, name, model, trusted, note.path, {LOCK_FILE: environment_lock()}
            )
            own = tags_of(model, files, metrics or {}, versions, origin.code, described, owner)
            # Before the version is there: whoever is told that this failed can repeat it.
            self._log_metrics(run_id, metrics or {})
            version = self._create(name, files, run_id, {**(tags or {}), **own}, description)
            self._finish(note, version)
        except Exception:
            self._undo(note)
            raise
        finally:
            registration.leave(note)
        return version

    def _create(
        self, name: str, files: ModelFiles, run_id: str | None, tags: dict[str, str], description: str
    ) -> ModelVersion:
        client = self._tracking.client
        source = (self._tracking.artifacts / files.path).absolute().as_uri()
        # MLflow asks for the newest number and takes the next: of two at once, one would fail.
        with self._tracking.turn:
            if not client.search_registered_models(f"name = '{name}'", max_results=1):
                client.create_registered_model(name)
            made = client.create_model_version(
                name, source=source, run_id=run_id, tags=tags, description=description or None
            )
        return version_of(made)

    def _finish(self, note: registration.Note, version: ModelVersion) -> None:
        noted = registration.finish(self._store, note, version)
        # Whoever opened the workspace meanwhile saw the version and wrote the entry, or else took the files away.
        if not noted and not (self._tracking.artifacts / version.files.path).is_dir():
            self._tracking.client.delete_model_version(version.name, str(version.version))
            raise Conflict(f"the registration of {version} took so long that it was taken for killed; repeat it")

    def _log_metrics(self, run_id: str | None, metrics: Mapping[str, float]) -> None:
        if run_id is not None:
            for key, value in metrics.items():
                self._tracking.client.log_metric(run_id, key, float(value))

    def _undo(self, note: registration.Note) -> None:
        from mlflow.exceptions import MlflowException

        # What cannot be undone now is undone when a workspace opens; the failure that led here is the one to see.
        with suppress(RoostError, MlflowException):
            self._settle(note)

    def reconcile(self) -> None:
        """Finish or undo the registrations of processes that were killed."""
        for note in registration.under_way(self._store):
            self._settle(note, only_dead=True)

    def _settle(self, note: registration.Note, only_dead: bool = False) -> None:
        """Write the ledger's entry of a version that MLflow has; take away the files of one that it has not.

        Args:
            only_dead: whether a registration is left alone that may still come to MLflow.
        """
        for stored in self._stored(note.name):
            if FILES in stored.tags and ModelFiles.from_json(stored.tags[FILES]).path == note.path:
                registration.finish(self._store, note, version_of(stored))
                return
        if only_dead and not registration.is_dead(note):
            return
        if registration.cancel(self._store, note):
            shutil.rmtree(self._tracking.artifacts / note.path, ignore_errors=True)

    def environment(self, version: ModelVersion) -> str | None:
        """Return the packages that were installed when a version was registered, as `pip install -r` takes them.

        Returns: None for a version that was registered without.
        Raises: Corruption: the file is missing or not what was saved.
        """
        return read_beside(self._tracking.artifacts, version.files, LOCK_FILE)

    def get(self, name: str, version: int | str | None = None) -> ModelVersion:
        """Return a version by its number or by an alias.

        Args:
            name: of the model; or the version's own text, as in `digits/1` or `digits/champion`.
            version: number or alias, where the name does not say it.
        Raises:
            ModelNotFound: there is no such model, version or alias.
            InvalidArgument: neither says which version.
        """
        from mlflow.exceptions import MlflowException

        name, version = _named(name, version)
        client = self._tracking.client
        try:
            if isinstance(version, int):
                return version_of(client.get_model_version(name, str(version)))
            return version_of(client.get_model_version_by_alias(name, version))
        except MlflowException as error:
            raise ModelNotFound(self._not_found(name, version)) from error

    def _not_found(self, name: str, version: int | str) -> str:
        models = self.list()
        if name not in models:
            return f"there is no model {name!r} ({suggestion(str(name), models)})"
        if isinstance(version, int):
            found = sorted(int(one.version) for one in self._stored(name))
            numbers = ", ".join(str(number) for number in found) or "none"
            return f"model {name!r} has no version {version} (there are: {numbers})"
        aliases = self._tracking.client.get_registered_model(name).aliases
        return f"model {name!r} has no alias {version!r} ({suggestion(version, aliases)})"

    def load(self, version: ModelVersion | str, alias: int | str | None = None, trusted: Collection[str] = ()) -> Any:
        """Return the model of a version, an `Embedder` or a `Predictor`, after checking its files.

        Args:
            version: the version, its text as in `digits/1`, or the model's name with the number or alias in `alias`.
            trusted: types and functions that the caller trusts, beside those that the registry remembers for these
                files and those that the workspace was opened with.
        Raises:
            ModelNotFound: there is no such version.
            InvalidArgument: the text does not say which version.
            Corruption: a file is missing or damaged; the message names it.
            UnsafeModel: the model holds types that are not trusted.
        """
        if isinstance(version, str):
            version = self.get(version, alias)
        return self._load(version.files, trusted)

    @property
    def trusted(self) -> frozenset[str]:
        """What this process trusts, beside what the registry remembers of each model."""
        return self._trusted

    def _load(self, files: ModelFiles, trusted: Collection[str] = ()) -> Model:
        return load_model(self._tracking.artifacts, files, self._trusted.union(trusted))

    def load_files(self, files: ModelFiles) -> Embedder:
        """Return the embedder of stored files, after checking them; without asking MLflow.

        Raises: InvalidArgument: they are not an embedder's.
        """
        model = self._load(files)
        if not isinstance(model, Embedder):
            raise InvalidArgument(f"the model in {files.path} is a {type(model).__name__}, which gives no vectors")
        return model

    def load_predictor(self, files: ModelFiles) -> Predictor:
        """Return the predictor of stored files, after checking them; without asking MLflow.

        Raises: InvalidArgument: they are not a predictor's.
        """
        model = self._load(files)
        if not isinstance(model, Predictor):
            raise InvalidArgument(f"the model in {files.path} is a {type(model).__name__}, which predicts nothing")
        return model

    def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Set tags of a version, in MLflow.

        Raises: InvalidArgument: a tag is one of Roost's own.
        """
        _check_tags(tags)
        for key, text in tags.items():
            self._tracking.client.set_model_version_tag(version.name, str(version.version), key, text)

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
        numbers = sorted(int(stored.version) for stored in self._stored(name) if FILES in stored.tags)
        return [self.get(name, number) for number in numbers]

    def _stored(self, name: str) -> Sequence[MlflowVersion]:
        """Return a model's versions as MLflow gives them to a search, which leaves their aliases out."""
        found: list[MlflowVersion] = []
        token: str | None = None
        while True:
            page = self._tracking.client.search_model_versions(
                f"name = '{name}'", max_results=_PAGE_SIZE, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def point_aliases(self, name: str, versions: Mapping[str, int | None], endpoint: str | None = None) -> None:
        """Let aliases name versions, or nothing; without a write where they do already.

        Args:
            endpoint: whose aliases they are. An alias then exists twice: as `<alias>--<endpoint>`, which is this
                endpoint's alone, and as `<alias>`, which names the version that all endpoints agree on that use the
                model, and nothing where they do not.
        """
        client = self._tracking.client
        while self._differing(name, versions, endpoint):
            # MLflow looks for an alias before it adds one: of two who move it at once, one would fail.
            with self._tracking.turn:
                for alias, number in self._differing(name, versions, endpoint).items():
                    if number is None:
                        client.delete_registered_model_alias(name, alias)
                    else:
                        client.set_registered_model_alias(name, alias, str(number))
            # Another endpoint may have moved its own meanwhile: the shared ones are looked at again.
            if endpoint is None:
                return

    def _differing(self, name: str, versions: Mapping[str, int | None], endpoint: str | None) -> dict[str, int | None]:
        """Return the aliases that do not name yet what they shall name, with what that is."""
        found = self._tracking.client.get_registered_model(name).aliases
        present = {alias: int(number) for alias, number in found.items()}
        wanted = aliases_of(present, versions, endpoint)
        return {alias: number for alias, number in wanted.items() if present.get(alias) != number}


def _check_model(model: object) -> None:
    if not isinstance(model, (Embedder, Predictor)):
        kind = type(model).__name__
        raise InvalidArgument(
            f"a model is registered as an Embedder or a Predictor, not as {kind}: wrap a fitted scikit-learn model as "
            f"SklearnEmbedder({kind}(...)) or SklearnPredictor({kind}(...)), or derive a class from "
            "roost.lifecycle.Embedder or Predictor"
        )


def _named(name: str, version: int | str | None) -> tuple[str, int | str]:
    """Return the name of a model, and the number or alias of a version, of what a caller gave."""
    if version is None:
        name, _, version = name.partition("/")
    if version == "":
        raise InvalidArgument(f"say which version of {name!r}: {name + '/1'!r} or {name + '/champion'!r}")
    is_number = isinstance(version, str) and version.isascii() and version.isdigit()
    return name, int(version) if is_number else version


def _check_metrics(metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        if not isinstance(value, Real):
            raise InvalidArgument(f"metrics are numbers, as in {{'recall': 0.93}}; {name!r} is {value!r:.100}")


def _data_versions(data: DataVersion | Sequence[DataVersion]) -> tuple[DataVersion, ...]:
    versions = (data,) if isinstance(data, DataVersion) or not isinstance(data, Sequence) else tuple(data)
    for one in versions:
        if not isinstance(one, DataVersion):
            raise InvalidArgument(f"data= takes what workspace.data.describe(...) gives, not {data!r:.100}")
    return versions


def _check_tags(tags: Mapping[str, str]) -> None:
    taken = sorted(tag for tag in tags if tag.startswith(("roost.", "metric.")))
    if taken:
        raise InvalidArgument(f"the tags {', '.join(taken)} are Roost's own: choose names without roost. and metric.")
