"""What one run of a plan does: train, judge, register, deploy, and begin the live test.

A recipe can give the model that is there already: it was repeated on the same data. Such a run adds nothing. Only a
version that the endpoint never deployed, or whose deployment failed, is deployed then, so that a run whose deployment
failed can be repeated.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from roost.address import without_secrets
from roost.errors import (
    DatabaseLocked,
    InvalidArgument,
    InvalidTransition,
    RoostError,
    StorageFailure,
    WorkspaceError,
)
from roost.lifecycle.context import Context
from roost.lifecycle.deployments import space
from roost.lifecycle.deployments.deployment import State
from roost.lifecycle.deployments.filling import is_filled
from roost.lifecycle.governance.data import remember_use
from roost.lifecycle.models.data_versions import data_versions_to_json
from roost.lifecycle.models.model_files import ModelFiles, load_model
from roost.lifecycle.models.runs import DATA
from roost.lifecycle.retrain import process
from roost.lifecycle.retrain.outcomes import Ended
from roost.lifecycle.retrain.plan import Plan
from roost.lifecycle.retrain.training import Request, Result, imported, read_result
from roost.lifecycle.serving.predict_endpoint import PredictEndpoint
from roost.lifecycle.serving.search_endpoint import SearchEndpoint
from roost.lifecycle.store.tables import DeploymentRow, JobRow

if TYPE_CHECKING:
    from roost.lifecycle.deployments.deployment import Deployment
    from roost.lifecycle.models.registry import ModelVersion
    from roost.lifecycle.models.runs import Run, Runs
    from roost.lifecycle.serving.endpoint import Endpoint

BEAT_EVERY_S = 5.0

_log = logging.getLogger(__name__)


class Pulse:
    """A run's sign of life, and whether it may go on."""

    def __init__(self, beat: Callable[[], bool], stopping: threading.Event) -> None:
        """Prepare.

        Args:
            beat: writes the sign of life into the store, and says whether the run is still wanted.
            stopping: set when the run has to end because its process stops what started it.
        """
        self._beat = beat
        self._stopping = stopping
        self._next = 0.0
        self._wanted = True

    def goes_on(self) -> bool:
        """Return whether the run may go on; cheap enough to be asked often."""
        if time.monotonic() >= self._next:
            try:
                self._wanted = self._beat()
            except (StorageFailure, DatabaseLocked) as error:  # hours of training outlive a store that is away
                _log.warning("a run of retraining could not give a sign of life: %s", error)
            self._next = time.monotonic() + BEAT_EVERY_S
        return self._wanted and not self._stopping.is_set()

    def check(self) -> None:
        """Raise `_Cancelled` where the run may not go on."""
        if not self.goes_on():
            raise _Cancelled("it was cancelled")


class _Cancelled(Exception):
    """Somebody asked for the end of the run while its deployment was built."""


def check_fits(plan: Plan, endpoint: Endpoint) -> None:
    """Check that a plan is one for its endpoint.

    Raises: InvalidArgument: an endpoint that is searched needs records; one that predicts takes none.
    """
    if isinstance(endpoint, SearchEndpoint) and plan.records is None:
        raise InvalidArgument(f"endpoint {endpoint.name!r} is searched: say in `records` what its challenger embeds")
    if not isinstance(endpoint, SearchEndpoint) and plan.records is not None:
        raise InvalidArgument(f"endpoint {endpoint.name!r} predicts and stores no records: leave `records` out")


def n_rows(context: Context, endpoint: Endpoint) -> int | None:
    """Return how many rows the champion's collection has; None without a champion or a collection."""
    champion = endpoint.champion
    if champion is None or not isinstance(endpoint, SearchEndpoint):
        return None
    return space.count(context.vectors, champion)


def carry_out(
    context: Context, endpoint: Endpoint, runs: Runs, plan: Plan, artifacts: Path, directory: Path, pulse: Pulse
) -> Ended:
    """Carry a plan out, as far as it comes, and return how it ended."""
    params = {**plan.params, "plan": plan.name}
    run = runs.start(f"retrain-{plan.name}", params=params, seed=plan.seed, tags={"retraining.plan": plan.name})
    ended = Ended("failed", "it was left by an exception", run.id)
    try:
        ended = _trained(context, endpoint, run, plan, artifacts, directory, pulse)
    except _Cancelled as error:
        ended = Ended("cancelled", str(error), run.id)
    except Exception as error:  # also from the recipe's own functions, which run here to give the records
        ended = Ended("failed", _message(error), run.id)
    finally:
        run.set_tags({"retraining.state": ended.state, "retraining.reason": ended.reason})
        _end_run(run, ended)
    return ended


def _trained(
    context: Context, endpoint: Endpoint, run: Run, plan: Plan, artifacts: Path, directory: Path, pulse: Pulse
) -> Ended:
    if plan.records is not None:
        imported(plan.records)  # rather now than after hours of training
    request = Request(
        plan=plan.name,
        endpoint=plan.endpoint,
        train=plan.train,
        evaluate=plan.evaluate,
        params=dict(plan.params),
        seed=plan.seed,
        max_seconds=plan.budget.max_seconds,
        artifacts=str(artifacts),
        champion=_champion_files(context, endpoint),
        trusted=plan.trusted,
        trusted_here=tuple(sorted(context.models.trusted)),
    )
    left = process.run(request, directory, pulse.goes_on)
    if left.ending == "over_budget":
        return Ended("over_budget", f"the recipe took longer than {plan.budget.max_seconds:g} s and was ended", run.id)
    if left.ending == "cancelled":
        return Ended("cancelled", "it was cancelled", run.id)
    result = read_result(directory)
    if result is None:
        return Ended("failed", _why_it_failed(left.killed_by, process.log_tail(directory)), run.id)
    _record(run, result)
    known = _deployment_of(endpoint, result.fingerprint)
    if known is not None:
        reason = (
            f"the recipe gave the model that is there already: {known.model}, whose deployment {known.name} is "
            f"{known.state.value}"
        )
        return Ended("unchanged", reason, run.id, metrics=result.challenger, champion_metrics=result.champion)
    refusal = plan.gate.refusal(result.challenger, result.champion)
    if refusal is not None:
        return Ended("refused", refusal, run.id, metrics=result.challenger, champion_metrics=result.champion)
    return _deployed(context, endpoint, run, plan, directory, result, pulse)


def _deployed(
    context: Context, endpoint: Endpoint, run: Run, plan: Plan, directory: Path, result: Result, pulse: Pulse
) -> Ended:
    version = _version_of(context, plan, result.fingerprint)
    if version is None:
        version = _registered(context, run, plan, directory, result)
    ended = Ended(
        "failed",
        f"{version} passed its gate and was not deployed",
        run.id,
        str(version),
        metrics=result.challenger,
        champion_metrics=result.champion,
    )
    try:
        deployment = _deploy(context, endpoint, plan, version, pulse)
    except _Cancelled as error:
        return replace(ended, state="cancelled", reason=f"{ended.reason}: {error}")
    except Exception as error:  # also from the function that gives the records, which is the user's
        return replace(ended, reason=f"{ended.reason}: {_message(error)}")
    test_id, note = _live_test(endpoint, plan, deployment)
    reason = f"{deployment.name} passed its gate{note}"
    return replace(ended, state="challenger", reason=reason, deployment=deployment.name, test_id=test_id)


def _deployment_of(endpoint: Endpoint, fingerprint: str) -> Deployment | None:
    """Return the deployment of a model that is champion or may become it, the newest before older ones."""
    found = [one for one in endpoint.deployments() if one.fingerprint == fingerprint]
    serving = [one for one in found if one.state == State.SERVING]
    return next(reversed(serving or [one for one in found if one.state == State.READY]), None)


def _version_of(context: Context, plan: Plan, fingerprint: str) -> ModelVersion | None:
    """Return the newest version of the plan's model that is the same model; None where there is none."""
    return next((one for one in reversed(context.models.versions(plan.model)) if one.fingerprint == fingerprint), None)


def _registered(context: Context, run: Run, plan: Plan, directory: Path, result: Result) -> ModelVersion:
    model = load_model(directory, ModelFiles.from_json(result.files), context.models.trusted)
    version = context.models.register(
        plan.model,
        model,
        run=run,
        metrics=result.challenger,
        tags={"retraining.plan": plan.name},
        trusted=plan.trusted,
        data=result.used_for("train"),
    )
    remember_use(context.store, version.name, version.version, result.used_for("evaluation"), "evaluation")
    return version


def _live_test(endpoint: Endpoint, plan: Plan, deployment: Deployment) -> tuple[int | None, str]:
    """Begin the live test that the plan asks for, and return its number; or why there is none."""
    if plan.live_test is None:
        return None, ""
    try:
        return endpoint.start_test(deployment, **plan.live_test).id, ""
    except (RoostError, TypeError) as error:  # a challenger is ready all the same, for a test by hand
        return None, f"; its live test did not begin: {_message(error)}"


def _why_it_failed(killed_by: str | None, log: str) -> str:
    if killed_by is None:
        return f"the recipe failed: {log}"
    said = f"; it had printed: {log}" if log else ""
    return f"the recipe's process was ended from outside by {killed_by}, perhaps for want of memory{said}"


def _message(error: Exception) -> str:
    return without_secrets(str(getattr(error, "message", "") or error))


def _deploy(context: Context, endpoint: Endpoint, plan: Plan, version: ModelVersion, pulse: Pulse) -> Deployment:
    if isinstance(endpoint, SearchEndpoint):
        _give_up_broken_off(context, endpoint, version)
        records = imported(str(plan.records))()
        return endpoint.deploy(version, records, progress=lambda _: pulse.check(), **plan.deploy)
    if isinstance(endpoint, PredictEndpoint):
        return endpoint.deploy(version, **plan.deploy)
    raise InvalidArgument(f"nothing can be deployed to an endpoint of kind {endpoint.kind!r}")


def _give_up_broken_off(context: Context, endpoint: SearchEndpoint, version: ModelVersion) -> None:
    """Cancel deployments of the version whose building nobody carries on: an earlier run was broken off there.

    Raises: InvalidTransition: somebody has paused one, and will want to go on with it.
    """
    for one in endpoint.deployments():
        if one.state == State.BUILDING and one.model == str(version) and not is_filled(context, one.id):
            with context.store.read() as session:
                state = session.scalar(select(JobRow.state).where(JobRow.deployment_id == one.id))
            if state == "paused":
                raise InvalidTransition(f"deployment {one.name!r} of this model is paused: resume or cancel it")
            endpoint.cancel(one, "its building was broken off, and the recipe has given its model again")


def _record(run: Run, result: Result) -> None:
    for name, value, step in result.logged:
        run.log_metric(name, value, step)
    if result.champion is not None:
        run.log_metrics({f"champion.{name}": value for name, value in result.champion.items()})
    if result.data:
        run.set_tags({DATA: data_versions_to_json(result.used_for("train"))})


def _end_run(run: Run, ended: Ended) -> None:
    if ended.state in ("challenger", "unchanged", "refused"):
        run.__exit__(None, None, None)
    else:
        error = WorkspaceError(ended.reason)
        run.__exit__(KeyboardInterrupt if ended.state == "cancelled" else WorkspaceError, error, None)


def _champion_files(context: Context, endpoint: Endpoint) -> str | None:
    champion = endpoint.champion
    if champion is None:
        return None
    with context.store.read() as session:
        return session.get_one(DeploymentRow, champion.id).model_files
