"""Embeddings from a service that speaks the OpenAI protocol: OpenAI, Azure, vLLM, Ollama, TEI, LiteLLM ..."""

from __future__ import annotations

import hashlib
import json
import os
import weakref
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import orjson

from roost.address import is_loopback, without_secrets
from roost.errors import Corruption, DimensionMismatch, InvalidArgument, InvalidData, ModelUnavailable
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.models.embedders.base import Embedder, FloatArray
from roost.lifecycle.models.preprocess.base import Batch
from roost.lifecycle.models.retries import Answer, Retries, post

_FILE = "service.json"
_BAD_CONTENT = (400, 413, 422)


class OpenAIEmbedder(Embedder):
    """A model behind `POST <url>/embeddings`. It may be used from any number of threads at once.

    The model's name is all that names the model: a service that puts another model behind the same name cannot be
    told from the one before by the fingerprint, which covers address, model and dimensions.
    """

    kind = "openai"

    def __init__(
        self,
        url: str,
        model: str,
        *,
        dim: int | None = None,
        dimensions: int | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        batch_size: int = 256,
        timeout_s: float = 30.0,
        retries: Retries | None = None,
        allow_plain_http: bool = False,
    ) -> None:
        """Name a service; nothing is sent yet.

        Args:
            url: up to `/embeddings`, as in "https://api.openai.com/v1"; without passwords or keys.
            model: its name there.
            dim: length of the vectors; asked of the service when it is first needed where neither this nor
                `dimensions` is given.
            dimensions: length that the service is asked to cut its vectors to, for models that can.
            api_key_env: name of the environment variable that holds the key, read at every request; the key itself
                is never stored. None sends no key; a variable that is not set is an error.
            batch_size: texts of one request.
            timeout_s: of one try of one request.
            retries: how often and how long is tried again.
            allow_plain_http: whether a key may go to another machine without encryption.
        Raises: InvalidArgument: the address is not one of HTTP or holds a secret, a number is not positive, or the
            key would be readable on the way.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise InvalidArgument(f"url={without_secrets(url)!r} is not one of a service: write https://HOST/v1")
        if without_secrets(url) != url:
            raise InvalidArgument(
                f"url={without_secrets(url)!r} holds a secret, which would be stored: name an environment variable "
                "in api_key_env="
            )
        if api_key_env is not None and parts.scheme == "http" and not (allow_plain_http or is_loopback(parts.hostname)):
            raise InvalidArgument(f"the key would go to {url} unencrypted: use https://, or pass allow_plain_http=True")
        for name, value in {"dim": dim, "dimensions": dimensions, "batch_size": batch_size}.items():
            if value is not None and value < 1:
                raise InvalidArgument(f"{name}={value} is not a positive number")
        if dim is not None and dimensions is not None and dim != dimensions:
            raise InvalidArgument(f"dim={dim} and dimensions={dimensions} differ: vectors have one length")
        if timeout_s <= 0:
            raise InvalidArgument(f"timeout_s={timeout_s} leaves no time to answer")
        self.url, self.model, self.dimensions, self.api_key_env = url, model, dimensions, api_key_env
        self.batch_size, self.timeout_s, self.retries = batch_size, timeout_s, retries or Retries()
        self._allow_plain_http = allow_plain_http
        self._known_dim = dim if dim is not None else dimensions
        self._address = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/embeddings"))

    @cached_property
    def dim(self) -> int:
        return self._known_dim if self._known_dim is not None else int(self._request(["example"]).shape[1])

    @property
    def fingerprint(self) -> str:
        named = canonical_json([self.kind, self.url, self.model, self.dimensions])
        return f"sha256:{hashlib.sha256(named.encode()).hexdigest()}"

    def embed(self, batch: Batch) -> FloatArray:
        """Return the vectors of texts.

        Raises:
            InvalidData: the content is not text, or the service refused it.
            DimensionMismatch: the vectors have another length than they should.
            ModelUnavailable: the service did not answer within the retries, refused the key or the model, or did
                not answer in the protocol.
        """
        texts = list(batch)
        for row, text in enumerate(texts):
            if not isinstance(text, str) or not text:
                shown = "an empty text" if text == "" else f"of type {type(text).__name__}"
                raise InvalidData(f"content {row} of the batch is {shown}; this model takes text")
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        starts = range(0, len(texts), self.batch_size)
        return np.concatenate([self._embed_some(texts[start : start + self.batch_size]) for start in starts])

    def close(self) -> None:
        """Give up the connections; a later use opens new ones."""
        opened = self.__dict__.pop("_client", None)
        if opened is not None:
            opened.close()

    def save(self, directory: Path) -> None:
        content = {
            "url": self.url,
            "model": self.model,
            "dim": self.dim,
            "dimensions": self.dimensions,
            "api_key_env": self.api_key_env,
            "batch_size": self.batch_size,
            "timeout_s": self.timeout_s,
            "retries": self.retries.to_dict(),
            "allow_plain_http": self._allow_plain_http,
        }
        (directory / _FILE).write_text(json.dumps(content, indent=2, sort_keys=True))

    @classmethod
    def load(cls, directory: Path, trusted: Collection[str] = ()) -> OpenAIEmbedder:
        try:
            content: dict[str, Any] = json.loads((directory / _FILE).read_text())
            retries = Retries(**content.pop("retries"))
            return cls(**content, retries=retries)
        except (ValueError, KeyError, TypeError) as error:
            raise Corruption(f"the description of the service in {directory} cannot be read: {error}") from error

    @cached_property
    def _client(self) -> Any:
        client = self.retries.open(self.timeout_s)
        weakref.finalize(self, client.close)
        return client

    def _embed_some(self, texts: Sequence[str]) -> FloatArray:
        vectors = self._request(texts)
        if vectors.shape[1] != self.dim:
            raise DimensionMismatch(
                f"the model {self.model!r} at {self.url} gave vectors of length {vectors.shape[1]}; it is registered "
                f"with {self.dim}"
            )
        return vectors

    def _request(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors that one request brings, in the texts' order."""
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        answer = post(self._client, self._address, orjson.dumps(body), self._headers(), self.retries)
        if answer.status in _BAD_CONTENT:
            raise InvalidData(f"the model {self.model!r} at {self.url} refused the texts: {answer.reason}")
        if answer.status != 200:
            raise ModelUnavailable(
                f"the model {self.model!r} at {self.url} cannot be used: status {answer.status}, {answer.reason}"
            )
        return self._vectors(answer, len(texts))

    def _headers(self) -> Mapping[str, str]:
        headers = {"Content-Type": "application/json"}
        if self.api_key_env is not None:
            key = os.environ.get(self.api_key_env)
            if not key:
                raise ModelUnavailable(
                    f"the key for {self.url} is missing: set the environment variable {self.api_key_env}, "
                    "or register the model with api_key_env=None"
                )
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _vectors(self, answer: Answer, n_texts: int) -> FloatArray:
        try:
            entries = sorted(orjson.loads(answer.content)["data"], key=lambda entry: int(entry["index"]))
            places = [int(entry["index"]) for entry in entries]
            vectors = np.array([entry["embedding"] for entry in entries], dtype=np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelUnavailable(
                f"{self.url} did not answer as the protocol says: {type(error).__name__}: {error}"
            ) from error
        if places != list(range(n_texts)) or vectors.ndim != 2:
            raise ModelUnavailable(f"{self.url} did not answer with one vector for each of {n_texts} texts")
        return vectors

    def __repr__(self) -> str:
        return f"OpenAIEmbedder({self.url!r}, model={self.model!r})"
