"""Filling a deployment's collection from records, while its endpoint answers and takes writes.

Steps of a batch: embed; leave out the keys that were written through the endpoint meanwhile, whose
content is newer; upsert the rest; note in the job's row how far it has come. A crash before the
note makes the batch be written again when the job is resumed, which changes nothing.

A record that cannot be embedded or stored is set aside with its reason and the rest goes on.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

from pymilvus import exceptions as milvus
from sqlalchemy import func, select

from roost.address import without_secrets
from roost.errors import DimensionMismatch, InvalidArgument, InvalidData, NotFinite, WorkspaceError
from roost.lifecycle import space
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import Deployment
from roost.lifecycle.embedders.base import Embedder, FloatArray, embed_checked
from roost.lifecycle.space import CONTENT, Payload
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import JobRow, LiveWriteRow, RejectedRow

Record: TypeAlias = Mapping[str, Any]

_BAD_DATA = (milvus.DataNotMatchException, milvus.ParamError)
"""What the engine's clients raise for a row that does not fit, as against an engine that fails."""

MAX_BATCH_SIZE = 10_000
"""A batch's keys fit into one SQL statement."""

_NO_RECORDS = hashlib.sha256(b"").hexdigest()

_log = logging.getLogger(__name__)


def check_batch_size(batch_size: int) -> None:
    """Raise InvalidArgument for a batch size that is out of range."""
    if not 1 <= batch_size <= MAX_BATCH_SIZE:
        raise InvalidArgument(f"batch_size must be between 1 and {MAX_BATCH_SIZE}, not {batch_size}")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a deployment's building has come.

    Attributes:
        n_done: records taken so far, those set aside included.
        total: records in all; None where that is not known.
        n_rejected: records set aside.
    """

    stage: Literal["embed", "index", "load", "done"]
    n_done: int
    total: int | None
    n_rejected: int


class Backfill:
    """One job that fills one deployment.

    Attributes:
        is_hopeless: it has failed, and going on from where it stands would help nobody: nothing was
            taken yet, or what was stored cannot become a deployment.
    """

    def __init__(
        self,
        context: Context,
        deployment: Deployment,
        embedder: Embedder,
        payload: Payload,
        write_gate: threading.Lock,
        batch_size: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Prepare the job.

        Args:
            write_gate: held while a batch is written; the endpoint's own writes hold it too.
        """
        self.is_hopeless = False
        self._context = context
        self._deployment = deployment
        self._embedder = embedder
        self._payload = payload
        self._write_gate = write_gate
        self._batch_size = batch_size
        self._progress = progress

    def run(self, records: Iterable[Record]) -> int:
        """Take all records, index and load the collection, check the count, and return it.

        The job is done when the caller has sealed the deployment.

        Raises:
            InvalidArgument: a resumed job got other records than those that it had taken.
            WorkspaceError: no record could be stored, or the collection's count is not what was written.
        """
        total = len(records) if isinstance(records, Sequence) else None
        job, is_filled = self._open_job(), False
        try:
            source = iter(records)
            self._skip_done(source, job)
            while batch := list(islice(source, self._batch_size)):
                self._take(batch, job)
                self._report("embed", job, total)
            is_filled = True
            self._report("index", job, job.n_done)
            space.build_index(self._context.vectors, self._deployment, self._payload)
            self._report("load", job, job.n_done)
            self._context.vectors.load_collection(self._deployment.collection)
            n_rows = self._checked_count(job)
        except BaseException as error:
            interrupted = not isinstance(error, Exception)
            refused = is_filled and isinstance(error, (WorkspaceError, *_BAD_DATA))
            self.is_hopeless = not interrupted and (job.n_done == 0 or refused)
            self._stop_job(job, "interrupted" if interrupted else "failed", f"{type(error).__name__}: {error}")
            raise
        if job.n_rejected:
            name, why = self._deployment.name, self._why(job)
            _log.warning("%d of %d records of %r were set aside, %s", job.n_rejected, job.n_done, name, why)
        self._report("done", job, job.n_done)
        return n_rows

    def _open_job(self) -> JobRow:
        query = select(JobRow).where(JobRow.deployment_id == self._deployment.id, JobRow.kind == "backfill")
        with self._context.store.write() as session:
            job = session.scalar(query)
            if job is None:
                job = JobRow(
                    kind="backfill", deployment_id=self._deployment.id, n_done=0, n_rejected=0, digest=_NO_RECORDS
                )
                session.add(job)
            job.state, job.error, job.updated_at = "running", None, utc_now()
        return job

    def _stop_job(self, job: JobRow, state: str, error: str) -> None:
        with self._context.store.write() as session:
            row = session.get_one(JobRow, job.id)
            row.state, row.error, row.updated_at = state, without_secrets(error), utc_now()

    def _skip_done(self, source: Iterator[Record], job: JobRow) -> None:
        digest, left = _NO_RECORDS, job.n_done
        while left:
            batch = list(islice(source, min(left, self._batch_size)))
            if not batch:
                raise InvalidArgument(f"the job had taken {job.n_done} records; these are only {job.n_done - left}")
            digest = self._chain(digest, batch)
            left -= len(batch)
        if digest != job.digest:
            raise InvalidArgument("these are not the records that the job had begun with: their keys differ")

    def _take(self, batch: list[Record], job: JobRow) -> None:
        rejected: dict[int, str] = {}
        rows = [self._row(record, position, rejected) for position, record in enumerate(batch)]
        kept = [position for position in range(len(batch)) if position not in rejected]
        vectors = self._embed(batch, kept, rejected)
        with self._write_gate:
            newer = self._live_keys([self._key_text(rows[position]) for position in vectors])
            fresh = [position for position in vectors if self._key_text(rows[position]) not in newer]
            self._write(rows, vectors, fresh, rejected)
            self._note(batch, job, rejected)

    def _row(self, record: Record, position: int, rejected: dict[int, str]) -> dict[str, Any]:
        missing = [name for name in (self._payload.key, CONTENT) if record.get(name) is None]
        if missing:
            rejected[position] = f"the record has no {' and no '.join(missing)}"
        return {name: value for name, value in record.items() if name != CONTENT}

    def _embed(self, batch: list[Record], kept: list[int], rejected: dict[int, str]) -> dict[int, FloatArray]:
        if not kept:
            return {}
        try:
            vectors = embed_checked(self._embedder, [batch[position][CONTENT] for position in kept])
            return dict(zip(kept, vectors, strict=True))
        except (InvalidData, NotFinite, DimensionMismatch) as error:
            if len(kept) == 1:
                rejected[kept[0]] = error.message
                return {}
        found: dict[int, FloatArray] = {}
        for position in kept:
            found |= self._embed(batch, [position], rejected)
        return found

    def _write(
        self,
        rows: list[dict[str, Any]],
        vectors: Mapping[int, FloatArray],
        positions: list[int],
        rejected: dict[int, str],
    ) -> None:
        if not positions:
            return
        try:
            space.upsert(
                self._context.vectors, self._deployment, [rows[p] for p in positions], [vectors[p] for p in positions]
            )
        except _BAD_DATA as error:
            if len(positions) == 1:
                rejected[positions[0]] = error.message
                return
            for position in positions:
                self._write(rows, vectors, [position], rejected)

    def _note(self, batch: list[Record], job: JobRow, rejected: Mapping[int, str]) -> None:
        with self._context.store.write() as session:
            for position, reason in sorted(rejected.items()):
                key = str(batch[position].get(self._payload.key))
                session.add(RejectedRow(job_id=job.id, position=job.n_done + position, key=key, reason=reason))
            job.n_done += len(batch)
            job.n_rejected += len(rejected)
            job.digest = self._chain(job.digest, batch)
            row = session.get_one(JobRow, job.id)
            row.n_done, row.n_rejected, row.digest, row.updated_at = job.n_done, job.n_rejected, job.digest, utc_now()

    def _checked_count(self, job: JobRow) -> int:
        n_written = job.n_done - job.n_rejected
        if n_written == 0:
            reason = "there were none" if job.n_done == 0 else f"all {job.n_done} were set aside, {self._why(job)}"
            raise WorkspaceError(f"no record could be stored: {reason}")
        with self._write_gate:
            n_live = self._n_live_keys()
            n_rows = space.count(self._context.vectors, self._deployment)
        if abs(n_rows - n_written) > n_live:
            raise WorkspaceError(
                f"collection {self._deployment.collection!r} holds {n_rows} rows after {n_written} records "
                "were written: are there records with the same key?"
            )
        return n_rows

    def _why(self, job: JobRow) -> str:
        """Return in words why the first record was set aside, and how to see why the others were."""
        own = RejectedRow.job_id == job.id
        with self._context.store.read() as session:
            key, reason = session.execute(
                select(RejectedRow.key, RejectedRow.reason).where(own).order_by(RejectedRow.position).limit(1)
            ).one()
            n_reasons = session.scalars(select(func.count(RejectedRow.reason.distinct())).where(own)).one()
        others = "the only reason" if n_reasons == 1 else f"one of {n_reasons} different reasons"
        rest = f"{others}; endpoint.rejected({self._deployment.name!r}) lists all"
        return f"the first, with the key {key}, because {reason} ({rest})"

    def _live_keys(self, keys: Sequence[str]) -> set[str]:
        query = select(LiveWriteRow.key).where(LiveWriteRow.deployment_id == self._deployment.id)
        with self._context.store.read() as session:
            return set(session.scalars(query.where(LiveWriteRow.key.in_(keys))))

    def _n_live_keys(self) -> int:
        query = select(func.count()).where(LiveWriteRow.deployment_id == self._deployment.id)
        with self._context.store.read() as session:
            return session.scalars(query).one()

    def _chain(self, digest: str, batch: Iterable[Record]) -> str:
        for record in batch:
            digest = hashlib.sha256(f"{digest}{record.get(self._payload.key)!r}".encode()).hexdigest()
        return digest

    def _key_text(self, row: Mapping[str, Any]) -> str:
        return str(row[self._payload.key])

    def _report(self, stage: Literal["embed", "index", "load", "done"], job: JobRow, total: int | None) -> None:
        if self._progress is not None:
            self._progress(Progress(stage, job.n_done, total, job.n_rejected))
