"""The files of a stored model: written once, checked at every load.

Steps of a save: write the files into a directory of a fresh name, sync them, write the manifest
with each file's SHA-256, and sync the directories. A crash before the registry names the directory
leaves a directory that nothing refers to.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from roost.errors import Corruption
from roost.lifecycle.embedders.base import Embedder
from roost.lifecycle.model import Model, model_class

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


def save_model(artifacts: Path, name: str, embedder: Embedder, trusted: Collection[str] = ()) -> ModelFiles:
    """Write an embedder's files below `artifacts` and return where they are."""
    relative = f"models/{name}/{uuid.uuid4().hex}"
    directory = artifacts / relative
    directory.mkdir(parents=True)
    embedder.save(directory)
    digests = {}
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        _sync(file)
        digests[file.relative_to(directory).as_posix()] = _digest(file)
    content = {"kind": embedder.kind, "fingerprint": embedder.fingerprint, "dim": embedder.dim, "files": digests}
    manifest = directory / _MANIFEST
    manifest.write_text(json.dumps(content, indent=2, sort_keys=True))
    _sync(manifest)
    for folder in [*(path for path in directory.rglob("*") if path.is_dir()), directory, *directory.parents]:
        _sync_folder(folder)
        if folder == artifacts:
            break
    return ModelFiles(relative, _digest(manifest), tuple(sorted(trusted)))


def load_model(artifacts: Path, files: ModelFiles, trusted: Collection[str] = ()) -> Model:
    """Return the embedder whose files were saved, after checking every one of them.

    Args:
        trusted: types that the caller trusts beside those of `files.trusted`.
    Raises:
        Corruption: a file is missing, not what was saved, or outside the artifacts; the message names it.
        UnsafeModel: the model holds types that nobody declared to be trusted.
    """
    directory = artifacts / files.path
    if not directory.resolve().is_relative_to(artifacts.resolve()):
        raise Corruption(f"the registry says that a model is in {files.path!r}, which is outside {artifacts}")
    _check(directory / _MANIFEST, files.checksum)
    manifest = json.loads((directory / _MANIFEST).read_text())
    for name, digest in manifest["files"].items():
        _check(directory / name, digest)
    embedder = model_class(manifest["kind"]).load(directory, trusted={*files.trusted, *trusted})
    if embedder.fingerprint != manifest["fingerprint"]:
        raise Corruption(
            f"the model in {directory} has the fingerprint {embedder.fingerprint} after loading; "
            f"{manifest['fingerprint']} was saved"
        )
    return embedder


def _check(file: Path, digest: str) -> None:
    if not file.is_file():
        raise Corruption(f"the model file {file} is missing")
    if _digest(file) != digest:
        raise Corruption(f"the model file {file} is not what was saved: its checksum differs")


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(file: Path) -> None:
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
