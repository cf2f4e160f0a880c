"""The files of a stored model: written once, checked at every load.

Steps of a save: write the files into a directory of a fresh name, sync them, write the manifest
with each file's SHA-256, and sync the directories. A crash before the registry names the directory
leaves a directory that nothing refers to; the registry removes it when a workspace opens later.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roost.errors import Corruption
from roost.lifecycle.models.embedders.base import Embedder
from roost.lifecycle.models.model import Model, model_class

_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a model's files are, and what they must be.

    Attributes:
        path: the directory, relative to the workspace's artifacts.
        checksum: SHA-256 of the manifest, which holds the SHA-256 of every file.
        trusted: types beside the safe ones that whoever registered the model trusts in these files.
    """

    path: str
    checksum: str
    trusted: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelFiles:
        raw = json.loads(text)
        return cls(raw["path"], raw["checksum"], tuple(raw["trusted"]))


def fresh_path(name: str) -> str:
    """Return a directory for the next version of a model, relative to the artifacts, that nothing else has."""
    return f"models/{name}/{uuid.uuid4().hex}"


def save_model(
    artifacts: Path,
    name: str,
    model: Model,
    trusted: Collection[str] = (),
    path: str | None = None,
    beside: Mapping[str, str] | None = None,
) -> ModelFiles:
    """Write a model's files below `artifacts` and return where they are.

    Args:
        path: the directory, relative to `artifacts`; by default a fresh one.
        beside: further files, by name, and their texts; they are checked as the model's own are.
    """
    relative = path if path is not None else fresh_path(name)
    directory = artifacts / relative
    directory.mkdir(parents=True)
    model.save(directory)
    for file_name, text in (beside or {}).items():
        (directory / file_name).write_text(text, encoding="utf-8")
    digests = {}
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        _sync(file)
        digests[file.relative_to(directory).as_posix()] = file_digest(file)
    content: dict[str, Any] = {"kind": model.kind, "fingerprint": model.fingerprint, "files": digests}
    if isinstance(model, Embedder):
        content["dim"] = model.dim
    manifest = directory / _MANIFEST
    manifest.write_text(json.dumps(content, indent=2, sort_keys=True))
    _sync(manifest)
    for folder in [*(path for path in directory.rglob("*") if path.is_dir()), directory, *directory.parents]:
        _sync_folder(folder)
        if folder == artifacts:
            break
    return ModelFiles(relative, file_digest(manifest), tuple(sorted(trusted)))


def load_model(artifacts: Path, files: ModelFiles, trusted: Collection[str] = ()) -> Model:
    """Return the model whose files were saved, after checking every one of them.

    Args:
        trusted: types that the caller trusts beside those of `files.trusted`.
    Raises:
        Corruption: a file is missing, not what was saved, or outside the artifacts; the message names it.
        UnsafeModel: the model holds types that nobody declared to be trusted.
        MissingDependency: nothing here loads models of this kind.
    """
    directory = directory_of(artifacts, files)
    manifest = _read_manifest(directory, files)
    for name, digest in manifest["files"].items():
        _check(directory / name, digest)
    model = model_class(manifest["kind"]).load(directory, trusted={*files.trusted, *trusted})
    if model.fingerprint != manifest["fingerprint"]:
        raise Corruption(
            f"the model in {directory} has the fingerprint {model.fingerprint} after loading; "
            f"{manifest['fingerprint']} was saved"
        )
    return model


def read_beside(artifacts: Path, files: ModelFiles, name: str) -> str | None:
    """Return the text of a file that was stored beside a model, after checking it; None where there is none.

    Raises: Corruption: the file is missing or not what was saved.
    """
    directory = directory_of(artifacts, files)
    manifest = _read_manifest(directory, files)
    if name not in manifest["files"]:
        return None
    _check(directory / name, manifest["files"][name])
    return (directory / name).read_text(encoding="utf-8")


def directory_of(artifacts: Path, files: ModelFiles) -> Path:
    """Return the directory of a model's files.

    Raises: Corruption: it is outside the artifacts.
    """
    directory = artifacts / files.path
    if not directory.resolve().is_relative_to(artifacts.resolve()):
        raise Corruption(f"the registry says that a model is in {files.path!r}, which is outside {artifacts}")
    return directory


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(directory: Path, files: ModelFiles) -> Any:
    _check(directory / _MANIFEST, files.checksum)
    return json.loads((directory / _MANIFEST).read_text())


def _check(file: Path, digest: str) -> None:
    if not file.is_file():
        raise Corruption(f"the model file {file} is missing")
    if file_digest(file) != digest:
        raise Corruption(f"the model file {file} is not what was saved: its checksum differs")


def _sync(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
