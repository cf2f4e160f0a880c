"""The job that fills one deployment's collection, while its endpoint answers and takes writes.

Steps of a batch, in the writer's thread, after it was embedded:

1. With the endpoint's write gate held: leave out the keys that were written through the endpoint meanwhile, whose
   content is newer; upsert the rest. The gate is shared by all processes, so no write of the endpoint comes between.
2. Note in the job's row how far it has come, and read there whether it shall go on.

A crash before 2 makes the batch be written again when the job is resumed, which changes nothing: rows are upserted, and
keys that were written meanwhile are left out again.

A record that cannot be embedded or stored is set aside with its reason and the rest goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from pymilvus import exceptions as milvus
from sqlalchemy import func, select

from roost.address import without_secrets
from roost.errors import Conflict, InvalidArgument, JobStopped, WorkspaceError
from roost.lifecycle.backfill.batches import Batch, Embedded, Key, Record, batch_of, store_each
from roost.lifecycle.backfill.keys import check_keys, repeated_keys
from roost.lifecycle.backfill.pipeline import Pipeline, Runner
from roost.lifecycle.backfill.rate import TokenBucket
from roost.lifecycle.backfill.sources import Records, Source, length_of, request_of
from roost.lifecycle.backfill.verification import Reservoir, Verification, check_passed, compare, read_back
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import space
from roost.lifecycle.deployments.deployment import Deployment
from roost.lifecycle.deployments.space import CONTENT, Payload
from roost.lifecycle.ledger import canonical_json
from roost.lifecycle.models.embedders.base import Embedder, FloatArray, embed_checked
from roost.lifecycle.store.database import utc_now
from roost.lifecycle.store.tables import JobRow, LiveWriteRow, RejectedRow

_BAD_DATA = (milvus.DataNotMatchException, milvus.ParamError)
"""What the engine's clients raise for a row that does not fit, as against an engine that fails."""

MAX_BATCH_SIZE = 10_000
"""A batch's keys fit into one SQL statement."""

POLL_EVERY_S = 0.5
"""How long a job that waits for its rate may take to see that it shall pause."""

_NO_RECORDS = hashlib.sha256(b"").hexdigest()
_STOPPED = {"pause": "paused", "cancel": "cancelled"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How a backfill is carried out.

    Attributes:
        batch_size: records that are embedded, written and noted together.
        workers: batches that are embedded at once.
        runner: "threads" of this process, or "ray".
        rate_limit: records per second; None for as fast as it goes.
        verify: records that are read back and embedded again at the end; 0 for none.
    """

    batch_size: int = 256
    workers: int = 1
    runner: Literal["threads", "ray"] = "threads"
    rate_limit: float | None = None
    verify: int = 64

    def __post_init__(self) -> None:
        """Check the values.

        Raises: InvalidArgument: one is out of range.
        """
        check_batch_size(self.batch_size)
        if self.workers < 1:
            raise InvalidArgument(f"workers must be at least 1, not {self.workers}")
        if self.runner not in ("threads", "ray"):
            raise InvalidArgument(f'runner {self.runner!r} is not known; use "threads" or "ray"')
        if self.rate_limit is not None and not self.rate_limit > 0:
            raise InvalidArgument(f"rate_limit must be above 0 records per second, not {self.rate_limit}")
        if not 0 <= self.verify <= MAX_BATCH_SIZE:
            raise InvalidArgument(f"verify must be between 0 and {MAX_BATCH_SIZE}, not {self.verify}")


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
            taken yet, or what was stored cannot become a deployment, or it was cancelled.
    """

    def __init__(
        self,
        context: Context,
        deployment: Deployment,
        endpoint_id: int,
        embedder: Embedder,
        payload: Payload,
        write_gate: AbstractContextManager[Any],
        options: Options,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Prepare the job.

        Args:
            write_gate: held while a batch is written; the endpoint's own writes hold it too, in every process.
        """
        self.is_hopeless = False
        self._context = context
        self._deployment = deployment
        self._endpoint_id = endpoint_id
        self._embedder = embedder
        self._payload = payload
        self._write_gate = write_gate
        self._options = options
        self._progress = progress
        self._sample = Reservoir(options.verify)
        self._worker = f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._wanted = "run"
        self._is_source = False

    def run(self, source: Records, runner: Runner) -> int:
        """Take all records, index and load the collection, check it, and return its number of rows.

        The job is done when the caller has sealed the deployment.

        Raises:
            InvalidArgument: a resumed job got other records than those that it had taken.
            JobStopped: somebody paused or cancelled it.
            WorkspaceError: no record could be stored, or the collection does not hold what was written.
        """
        self._is_source = isinstance(source, Source)  # known by its own digest, and not by the keys that were taken
        job, is_filled = self._open_job(source), False
        try:
            self._fill(source, runner, job)
            is_filled = True
            n_rows = self._complete(source, job)
        except BaseException as error:
            interrupted = not isinstance(error, Exception)
            cancelled = isinstance(error, JobStopped) and self._wanted == "cancel"
            refused = is_filled and isinstance(error, (WorkspaceError, *_BAD_DATA))
            self.is_hopeless = cancelled or (
                not interrupted and not isinstance(error, JobStopped) and (job.n_done == 0 or refused)
            )
            state = "interrupted" if interrupted else "failed"
            if isinstance(error, JobStopped):
                state = _STOPPED[self._wanted]
            self._stop_job(job, state, f"{type(error).__name__}: {error}")
            raise
        if job.n_rejected:
            name, why = self._deployment.name, self._why(job)
            _log.warning("%d of %d records of %r were set aside, %s", job.n_rejected, job.n_done, name, why)
        self._report(Progress("done", job.n_done, job.n_done, job.n_rejected))
        return n_rows

    def _fill(self, source: Records, runner: Runner, job: JobRow) -> None:
        started = _Start(time.perf_counter(), job.n_done)

        def written(at: Progress) -> None:
            self._say_how_long(started, at)
            self._report(at)

        pipeline = Pipeline(runner, lambda batch, embedded: self._store(batch, embedded, job))
        pipeline.run(self._batches(source, job), written)
        if self._wanted != "run":
            raise JobStopped(self._stop_reason(job))

    def _complete(self, source: Records, job: JobRow) -> int:
        self._report(Progress("index", job.n_done, job.n_done, job.n_rejected))
        client, deployment = self._context.vectors, self._deployment
        space.build_index(client, deployment.collection, self._payload, deployment.index)
        self._report(Progress("load", job.n_done, job.n_done, job.n_rejected))
        self._context.vectors.load_collection(self._deployment.collection)
        space.try_search(self._context.vectors, self._deployment, self._payload.metric)
        n_rows = self._checked_count(source, job)
        found = self._verified()
        with self._context.store.write() as session:
            row = session.get_one(JobRow, job.id)
            row.result = canonical_json({**json.loads(row.result), "verification": asdict(found), "n_rows": n_rows})
            self._wanted = row.wanted
        if self._wanted == "cancel":
            raise JobStopped(self._stop_reason(job))
        return n_rows

    # The job's row

    def _open_job(self, source: Records) -> JobRow:
        query = select(JobRow).where(JobRow.deployment_id == self._deployment.id, JobRow.kind == "backfill")
        request = {"source": request_of(source), **asdict(self._options)}
        with self._context.store.write() as session:
            job = session.scalar(query)
            if job is None:
                job = JobRow(
                    kind="backfill",
                    deployment_id=self._deployment.id,
                    endpoint_id=self._endpoint_id,
                    actor=self._context.actor,
                    n_done=0,
                    n_rejected=0,
                    digest=_NO_RECORDS,
                    result="{}",
                    created_at=utc_now(),
                )
                session.add(job)
            elif job.n_done:
                _check_same(json.loads(job.request).get("source", {}), request["source"])
            job.request, job.total = canonical_json(request), length_of(source)
            job.state, job.wanted, job.error = "running", "run", None
            job.worker, job.updated_at = self._worker, utc_now()
        return job

    def _stop_job(self, job: JobRow, state: str, error: str) -> None:
        with self._context.store.write() as session:
            row = session.get_one(JobRow, job.id)
            if row.worker == self._worker:
                row.state, row.error, row.updated_at = state, without_secrets(error), utc_now()

    def _stop_reason(self, job: JobRow) -> str:
        name = self._deployment.name
        if self._wanted == "cancel":
            return f"the backfill of {name!r} was cancelled after {job.n_done} records"
        return f"the backfill of {name!r} was paused after {job.n_done} records: resume({name!r}) goes on"

    # Reading

    def _batches(self, source: Records, job: JobRow) -> Iterator[Batch]:
        records = self._rest(source, job)
        bucket = TokenBucket(self._options.rate_limit) if self._options.rate_limit is not None else None
        while self._wanted == "run":
            some = list(islice(records, self._options.batch_size))
            if not some or (bucket is not None and not self._wait(bucket.take(len(some), time.monotonic()), job)):
                return
            batch = batch_of(some, self._payload.key)
            check_keys(batch)
            yield batch

    def _rest(self, source: Records, job: JobRow) -> Iterator[Record]:
        if isinstance(source, Source):
            return source.records(job.n_done, json.loads(job.result).get("last_key"))
        records = iter(source)
        self._skip_done(records, job)
        return records

    def _skip_done(self, source: Iterator[Record], job: JobRow) -> None:
        digest, left = _NO_RECORDS, job.n_done
        while left:
            some = list(islice(source, min(left, self._options.batch_size)))
            if not some:
                raise InvalidArgument(f"the job had taken {job.n_done} records; these are only {job.n_done - left}")
            digest = self._chain(digest, some)
            left -= len(some)
        if digest != job.digest:
            raise InvalidArgument("these are not the records that the job had begun with: their keys differ")

    def _wait(self, seconds: float, job: JobRow) -> bool:
        """Wait for the rate, and return whether the job shall go on."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, POLL_EVERY_S))
            if left > POLL_EVERY_S:
                with self._context.store.read() as session:
                    self._wanted = session.get_one(JobRow, job.id).wanted
                if self._wanted != "run":
                    return False
        return True

    # Writing, in the pipeline's thread

    def _store(self, batch: Batch, embedded: Embedded, job: JobRow) -> Progress:
        reasons = dict(batch.reasons)
        reasons.update({batch.kept[place]: reason for place, reason in embedded.reasons.items()})
        vectors = {
            batch.kept[place]: vector for place, vector in zip(embedded.positions, embedded.vectors, strict=True)
        }

        def upsert(positions: Sequence[int]) -> None:
            space.upsert(
                self._context.vectors,
                self._deployment,
                [batch.row(position) for position in positions],
                [vectors[position] for position in positions],
            )

        with self._write_gate:
            newer = self._live_keys([batch.key_text(position) for position in vectors])
            fresh = [position for position in vectors if batch.key_text(position) not in newer]
            reasons |= store_each(upsert, fresh, _BAD_DATA)
        stored = [batch.records[position] for position in fresh if position not in reasons]
        self._sample.offer(len(stored), lambda at: (stored[at][self._payload.key], stored[at][CONTENT]))
        return self._note(batch.records, job, reasons)

    def _note(self, records: Sequence[Record], job: JobRow, reasons: Mapping[int, str]) -> Progress:
        with self._context.store.write() as session:
            row = session.get_one(JobRow, job.id, with_for_update=True)
            if row.worker != self._worker:
                raise Conflict(f"the backfill of {self._deployment.name!r} was taken over by {row.worker}")
            for position, reason in sorted(reasons.items()):
                key = str(_key_of(records[position], self._payload.key))
                session.add(RejectedRow(job_id=job.id, position=job.n_done + position, key=key, reason=reason))
            job.n_done += len(records)
            job.n_rejected += len(reasons)
            if not self._is_source:
                job.digest = self._chain(job.digest, records)
            row.n_done, row.n_rejected, row.digest, row.updated_at = job.n_done, job.n_rejected, job.digest, utc_now()
            row.result = canonical_json({**json.loads(row.result), "last_key": _last_key(records, self._payload.key)})
            self._wanted = row.wanted
        return Progress("embed", job.n_done, job.total, job.n_rejected)

    def _live_keys(self, keys: Sequence[str]) -> set[str]:
        query = select(LiveWriteRow.key).where(LiveWriteRow.deployment_id == self._deployment.id)
        with self._context.store.read() as session:
            if session.scalars(query.limit(1)).first() is None:  # as a rule; a statement of many keys takes its time
                return set()
            return set(session.scalars(query.where(LiveWriteRow.key.in_(keys))))

    def _chain(self, digest: str, records: Iterable[Record]) -> str:
        for record in records:
            digest = hashlib.sha256(f"{digest}{_key_of(record, self._payload.key)!r}".encode()).hexdigest()
        return digest

    # Checking

    def _checked_count(self, source: Records, job: JobRow) -> int:
        n_written = job.n_done - job.n_rejected
        if n_written == 0:
            reason = "there were none" if job.n_done == 0 else f"all {job.n_done} were set aside, {self._why(job)}"
            raise WorkspaceError(f"no record could be stored: {reason}")
        with self._write_gate:
            n_live = self._n_live_keys()
            n_rows = space.count(self._context.vectors, self._deployment)
        if abs(n_rows - n_written) > n_live:
            repeated = repeated_keys(source, self._payload.key) if n_rows < n_written else ""
            raise WorkspaceError(
                f"collection {self._deployment.collection!r} holds {n_rows} rows after {n_written} records "
                f"were written: {repeated or 'somebody else has written to it'}"
            )
        return n_rows

    def _verified(self) -> Verification:
        client, collection = self._context.vectors, self._deployment.collection
        sample = self._sample.sample
        expected: dict[Key, FloatArray] = {}
        if sample:
            vectors = embed_checked(self._embedder, [content for _, content in sample])
            expected = {key: vector for (key, _), vector in zip(sample, vectors, strict=True)}
        with self._write_gate:
            live = self._live_keys([str(key) for key in expected])
            expected = {key: vector for key, vector in expected.items() if str(key) not in live}
            stored = read_back(client, collection, self._payload.key, list(expected))
        found = compare(expected, stored)
        check_passed(found, collection)
        return found

    def _n_live_keys(self) -> int:
        query = select(func.count()).where(LiveWriteRow.deployment_id == self._deployment.id)
        with self._context.store.read() as session:
            return session.scalars(query).one()

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

    # Telling

    def _say_how_long(self, started: _Start, at: Progress) -> None:
        if at.total is None or started.was_told or at.n_done - started.n_done < _TELL_AFTER * self._options.batch_size:
            return
        started.was_told = True
        rate = (at.n_done - started.n_done) / (time.perf_counter() - started.at_s)
        left = (at.total - at.n_done) / rate
        _log.info(
            "%r: %.0f records/s, about %.0f s for %d more", self._deployment.name, rate, left, at.total - at.n_done
        )

    def _report(self, at: Progress) -> None:
        if self._progress is not None:
            self._progress(at)


_TELL_AFTER = 8
"""Batches after which a job says how long the rest will take."""


@dataclass(slots=True)
class _Start:
    at_s: float
    n_done: int
    was_told: bool = False


def _key_of(record: object, key: str) -> Any:
    return record.get(key) if isinstance(record, Mapping) else None


def _last_key(records: Sequence[Record], key: str) -> Key | None:
    found = _key_of(records[-1], key)
    return found if isinstance(found, (int, str)) else None


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if before.get("digest") != now.get("digest"):
        raise InvalidArgument(
            f"the job had begun with other records: {canonical_json(dict(before))}, not {canonical_json(dict(now))}"
        )
