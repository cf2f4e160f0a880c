"""The plans of a workspace: kept in the store, looked at by a thread or by hand, and carried out.

Steps of a run: a transaction that claims the plan and writes a job; the recipe in a process of its
own; the gate; the new version in the registry; its deployment; the live test, where one is asked
for; a transaction that writes how it ended. A crash leaves a job that says it runs, which the next
run marks as interrupted, and at most a deployment that is `building`, which can be resumed or
retired. The champion is not touched in any case.

Who carries a plan out holds a lock that all processes share, and a process that dies gives it up. So
a run that nobody holds is dead, however long it gave no sign of life, and one that is held is not.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from roost.errors import AlreadyExists, Conflict, InvalidArgument, PlanNotFound, RoostError
from roost.lifecycle import ledger
from roost.lifecycle.context import Context
from roost.lifecycle.deployments.promotion import check_reason
from roost.lifecycle.governance import permits
from roost.lifecycle.html import table
from roost.lifecycle.jobs import RETRAIN, cancel_run
from roost.lifecycle.names import check_name, suggestion
from roost.lifecycle.retrain import observed, steps
from roost.lifecycle.retrain.importable import check_importable
from roost.lifecycle.retrain.outcomes import Ended, Outcome, outcome_of
from roost.lifecycle.retrain.plan import MetricBelow, Plan
from roost.lifecycle.retrain.triggers import Facts, due, over_budget
from roost.lifecycle.store.database import utc_now, utc_text
from roost.lifecycle.store.retraining_tables import RetrainingPlanRow
from roost.lifecycle.store.tables import EndpointRow, JobRow

if TYPE_CHECKING:
    from roost.lifecycle.models.runs import Runs
    from roost.lifecycle.serving.endpoints import Endpoints

KIND = RETRAIN
LOOK_EVERY_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Start:
    """Why a plan is carried out.

    Attributes:
        checked_at: until when its triggers had been looked at when one of them fired; None for a run by hand.
        now: until when they are looked at with this run.
    """

    trigger: str
    checked_at: str | None = None
    now: str = ""


class Retraining:
    """The plans of a workspace. Safe to use from any thread."""

    def __init__(self, context: Context, endpoints: Endpoints, runs: Runs, artifacts: Path) -> None:
        self._context = context
        self._endpoints = endpoints
        self._runs = runs
        self._artifacts = artifacts
        self._closing = threading.Event()
        self._stopping = threading.Event()
        self._held_back: set[str] = set()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def register(self, plan: Plan) -> Plan:
        """Keep a plan; from now on its triggers start it whenever they are looked at.

        Raises:
            InvalidName: the plan's or the model's name is not allowed.
            EndpointNotFound: there is no such endpoint.
            AlreadyExists: there is a plan of that name.
            InvalidArgument: an endpoint that is searched needs `records`, the plan holds what JSON cannot, or a
                module that it names is here and has no such function. A module that is not here is said in the
                log: it may be where the plan is run.
        """
        check_name("plan", plan.name)
        check_name("model", plan.model)
        endpoint = self._endpoints.get(plan.endpoint)
        steps.check_fits(plan, endpoint)
        notes = check_importable(path for path in (plan.train, plan.evaluate, plan.records) if path is not None)
        text, now = plan.to_json(), utc_now()
        n_rows = steps.n_rows(self._context, endpoint)
        with self._context.store.write() as session:
            if session.scalar(select(RetrainingPlanRow.id).where(RetrainingPlanRow.name == plan.name)) is not None:
                raise AlreadyExists(f"there is a plan of retraining {plan.name!r} already: remove it first")
            row = session.scalars(select(EndpointRow).where(EndpointRow.name == plan.endpoint)).one()
            self._permit(session, "retrain.register", row.environment, plan)
            session.add(
                RetrainingPlanRow(
                    name=plan.name,
                    endpoint_id=row.id,
                    configuration=text,
                    enabled=True,
                    created_at=now,
                    created_by=self._context.actor,
                    checked_at=now,
                    n_rows=n_rows,
                )
            )
            evidence = {"model": plan.model, "train": plan.train, "evaluate": plan.evaluate, "records": plan.records}
            ledger.append(session, self._context.actor, "retrain.register", plan.endpoint, plan.name, evidence=evidence)
        for note in notes:
            _log.warning("plan %r was registered, but %s", plan.name, note)
        return plan

    def plans(self) -> list[Plan]:
        """Return all plans, by their names."""
        with self._context.store.read() as session:
            rows = session.scalars(select(RetrainingPlanRow).order_by(RetrainingPlanRow.name))
            return [Plan.from_json(row.configuration) for row in rows]

    def get(self, name: str) -> Plan:
        """Return one plan.

        Raises: PlanNotFound: there is none of that name.
        """
        with self._context.store.read() as session:
            return Plan.from_json(_row(session, name).configuration)

    def is_enabled(self, name: str) -> bool:
        """Return whether triggers may start a plan."""
        with self._context.store.read() as session:
            return _row(session, name).enabled

    def enable(self, name: str, enabled: bool = True, *, reason: str) -> None:
        """Let triggers start a plan, or let them not.

        Raises: InvalidArgument: the reason is empty.
        """
        check_reason(reason)
        with self._context.store.write() as session:
            row = _row(session, name, lock=True)
            plan = Plan.from_json(row.configuration)
            action = "retrain.enable" if enabled else "retrain.disable"
            self._permit(session, action, session.get_one(EndpointRow, row.endpoint_id).environment, plan)
            row.enabled = enabled
            if enabled:
                row.checked_at = utc_now()
            ledger.append(session, self._context.actor, action, plan.endpoint, name, reason)

    def remove(self, name: str, *, reason: str) -> None:
        """Forget a plan; its runs, versions and deployments stay.

        Raises: InvalidArgument: the reason is empty.
        """
        check_reason(reason)
        with self._context.store.write() as session:
            row = _row(session, name, lock=True)
            plan = Plan.from_json(row.configuration)
            self._permit(session, "retrain.remove", session.get_one(EndpointRow, row.endpoint_id).environment, plan)
            session.delete(row)
            ledger.append(session, self._context.actor, "retrain.remove", plan.endpoint, name, reason)

    def run(self, name: str, *, reason: str) -> Outcome:
        """Carry out a plan now, and wait for its end.

        Raises:
            InvalidArgument: the reason is empty.
            Conflict: it is running, here or in another process.
        """
        check_reason(reason)
        return self._run(self.get(name), _Start(f"by hand: {reason}"), self._closing)

    def cancel(self, name: str, reason: str = "") -> None:
        """Ask the run of a plan, in whichever process, to end; nothing where none is running.

        Raises:
            PlanNotFound: there is no such plan.
            PermissionDenied, ApprovalRequired: the actor may not do this.
        """
        with self._context.store.write() as session:
            job_id = _row(session, name).job_id
            if job_id is not None:
                cancel_run(session, self._context.actor, job_id, reason)

    def history(self, name: str) -> list[Outcome]:
        """Return the runs of a plan, oldest first."""
        query = select(JobRow).where(JobRow.kind == KIND).order_by(JobRow.id)
        with self._context.store.read() as session:
            return [found for job in session.scalars(query) if (found := outcome_of(job)).plan == name]

    def check(self, now: datetime | None = None) -> list[Outcome]:
        """Look at the triggers of all plans, carry out those that are due and within their budget, and wait.

        A plan that another process is carrying out is left to it. What goes wrong with one plan
        keeps no other from running.

        Args:
            now: by default the present; a later time shows what would be started then.
        """
        return self._check(now if now is not None else datetime.now(timezone.utc), self._closing)

    def _check(self, now: datetime, stopping: threading.Event) -> list[Outcome]:
        done = []
        for plan in self.plans():
            try:
                start = self._due(plan, now)
                if start is not None:
                    done.append(self._run(plan, start, stopping))
            except Conflict as error:
                _log.info("plan %r is left alone: %s", plan.name, error)
            except RoostError as error:
                _log.warning("plan %r could not be looked at: %s", plan.name, error)
        return done

    def start(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look at the triggers from now on in the background, until `stop` or until the workspace is closed."""
        if every_s <= 0:
            raise InvalidArgument(f"every_s must be positive, not {every_s}")
        with self._starting:
            if self._thread is None:
                self._stopping = threading.Event()
                self._thread = threading.Thread(
                    target=self._look, args=(every_s, self._stopping), name="roost-retraining", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Look no more; a run that the background started is cancelled, and one by hand is not."""
        with self._starting:
            self._stopping.set()
            if self._thread is not None:
                self._thread.join()
                self._thread = None

    def close(self) -> None:
        """Look no more, and cancel every run of this process."""
        self._closing.set()
        self.stop()

    def _look(self, every_s: float, stopping: threading.Event) -> None:
        while not stopping.wait(every_s):
            try:
                self._check(datetime.now(timezone.utc), stopping)
            except Exception as error:  # a thread that ended would start nothing from here on
                _log.warning("the triggers of retraining could not be looked at: %s", error)

    def _due(self, plan: Plan, now: datetime) -> _Start | None:
        """Return what a plan is started for; a moment of its schedule is over only once it was started for it."""
        with self._context.store.read() as session:
            row = _row(session, plan.name)
            if not row.enabled:
                return None
            since = datetime.fromisoformat(row.started_at or row.created_at)
            ran_at = datetime.fromisoformat(row.started_at) if row.started_at is not None else None
            checked_at, before = row.checked_at, row.n_rows
        n_windows: dict[str, int] = {}
        for trigger in plan.triggers:
            if isinstance(trigger, MetricBelow):
                n_windows[trigger.metric] = max(trigger.n_windows, n_windows.get(trigger.metric, 0))
        metrics = {name: self._last_windows(plan.endpoint, name, most, ran_at) for name, most in n_windows.items()}
        runs = [datetime.fromisoformat(outcome.started_at) for outcome in self.history(plan.name)]
        facts = Facts(
            now=now,
            checked_at=datetime.fromisoformat(checked_at),
            drift=observed.drift_alerts(self._context.store, plan.endpoint, since),
            metrics=metrics,
            n_rows=steps.n_rows(self._context, self._endpoints.get(plan.endpoint)),
            n_rows_before=before,
            runs=runs,
        )
        reason = due(plan, facts)
        if reason is None:
            self._looked(plan, checked_at, utc_text(now))
            return None
        refusal = over_budget(plan.budget, facts)
        if refusal is not None:
            level = logging.DEBUG if plan.name in self._held_back else logging.WARNING  # once, not at every look
            _log.log(level, "plan %r is due (%s) and not started: %s", plan.name, reason, refusal)
            self._held_back.add(plan.name)
            return None
        self._held_back.discard(plan.name)
        return _Start(reason, checked_at, utc_text(now))

    def _looked(self, plan: Plan, before: str, now: str) -> None:
        with self._context.store.write() as session:
            row = _row(session, plan.name, lock=True)
            if row.checked_at == before:
                row.checked_at = now

    def _last_windows(self, endpoint: str, metric: str, n_windows: int, ran_at: datetime | None) -> list[float]:
        champion = self._endpoints.get(endpoint).champion
        if champion is None:
            return []
        return observed.last_windows(self._context.store, endpoint, champion.name, metric, n_windows, ran_at)

    def _run(self, plan: Plan, start: _Start, stopping: threading.Event) -> Outcome:
        with self._context.store.read() as session:
            row = _row(session, plan.name)
            lock = self._context.store.lock(f"retrain-{row.id}")
        with lock.hold(wait=False) as is_ours:
            if not is_ours:
                raise Conflict(f"plan {plan.name!r} is running already: {self._worker(plan.name)}")
            return self._carried_out(plan, start, stopping)

    def _worker(self, name: str) -> str:
        with self._context.store.read() as session:
            job_id = _row(session, name).job_id
            job = session.get(JobRow, job_id) if job_id is not None else None
            return f"job {job.id} on {job.worker}" if job is not None else "it has just begun"

    def _carried_out(self, plan: Plan, start: _Start, stopping: threading.Event) -> Outcome:
        endpoint = self._endpoints.get(plan.endpoint)
        job_id = self._claim(plan, start, steps.n_rows(self._context, endpoint))
        ended = Ended("failed", "it was left by an exception")
        try:
            with tempfile.TemporaryDirectory(prefix="roost-retrain-") as directory:
                ended = steps.carry_out(
                    self._context,
                    endpoint,
                    self._runs,
                    plan,
                    self._artifacts,
                    Path(directory),
                    self._beat(job_id, stopping),
                )
        except KeyboardInterrupt:
            ended = Ended("cancelled", "it was interrupted")
            raise
        finally:
            self._finish(plan, job_id, ended)
        with self._context.store.read() as session:
            return outcome_of(session.get_one(JobRow, job_id))

    def _claim(self, plan: Plan, start: _Start, n_rows: int | None) -> int:
        now, trigger = utc_now(), start.trigger
        with self._context.store.write() as session:
            row = _row(session, plan.name, lock=True)
            environment = session.get_one(EndpointRow, row.endpoint_id).environment
            self._permit(session, "retrain", environment, plan)
            if start.checked_at is not None:
                if row.checked_at != start.checked_at:
                    raise Conflict(f"plan {plan.name!r} was looked at and started meanwhile")
                row.checked_at = start.now
            last = session.get(JobRow, row.job_id) if row.job_id is not None else None
            if last is not None and last.state == "running":
                last.state, last.error = "interrupted", "its process ended before it did"
            job = JobRow(
                kind=KIND,
                endpoint_id=row.endpoint_id,
                actor=self._context.actor,
                request=ledger.canonical_json({"plan": plan.name, "trigger": trigger}),
                state="running",
                worker=f"{socket.gethostname()}:{os.getpid()}",
                digest="",
                created_at=now,
                updated_at=now,
            )
            session.add(job)
            session.flush()
            row.job_id, row.started_at, row.n_rows = job.id, now, n_rows
            evidence = {"job": job.id, "trigger": trigger}
            ledger.append(session, self._context.actor, "retrain.start", plan.endpoint, plan.name, trigger, evidence)
            return job.id

    def _finish(self, plan: Plan, job_id: int, ended: Ended) -> None:
        with self._context.store.write() as session:
            job = session.get_one(JobRow, job_id)
            job.state, job.updated_at = ended.state, utc_now()
            job.error = None if ended.state == "challenger" else ended.reason
            evidence = {name: value for name, value in asdict(ended).items() if value is not None}
            job.result = ledger.canonical_json(evidence)
            subject = ended.version or plan.name
            evidence |= {"job": job_id, "plan": plan.name}
            ledger.append(session, self._context.actor, "retrain.end", plan.endpoint, subject, ended.reason, evidence)

    def _beat(self, job_id: int, stopping: threading.Event) -> steps.Pulse:
        def wanted() -> bool:
            with self._context.store.write() as session:
                job = session.get_one(JobRow, job_id)
                job.updated_at = utc_now()
                return job.wanted != "cancel"

        return steps.Pulse(wanted, stopping)

    def _permit(self, session: Session, action: str, environment: str | None, plan: Plan) -> None:
        permits.check(session, self._context.actor, action, environment, f"{plan.endpoint}/{plan.name}")

    def __repr__(self) -> str:
        return f"Retraining({', '.join(plan.name for plan in self.plans()) or 'no plans'})"

    def _repr_html_(self) -> str:
        rows = []
        for plan in self.plans():
            runs = self.history(plan.name)
            last = runs[-1].state if runs else None
            rows.append({"plan": plan.name, "endpoint": plan.endpoint, "model": plan.model, "last run": last})
        return table(rows, ("plan", "endpoint", "model", "last run"), "Plans of retraining")


def _row(session: Session, name: str, lock: bool = False) -> RetrainingPlanRow:
    query = select(RetrainingPlanRow).where(RetrainingPlanRow.name == name)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        names = session.scalars(select(RetrainingPlanRow.name))
        raise PlanNotFound(f"there is no plan of retraining {name!r} ({suggestion(str(name), names)})")
    return row
