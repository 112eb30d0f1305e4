"""What the operators whose work is a job have in common."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, conf

from moulin_provider.assets import CATALOG, assets_of, event_extra, outlets_of, table_of
from moulin_provider.links.moulin import MoulinReceiptLink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk.definitions.mappedoperator import OperatorPartial
    from moulin.errors import MoulinError
    from moulin.job import Job, Receipt
    from moulin.plan import JobPlan
    from moulin.spec import JobSpec

    from moulin_provider.hooks.moulin import MoulinHook

DEFERRABLE: bool = conf.getboolean("operators", "default_deferrable", fallback=False)
"""Whether tasks wait in the triggerer when they do not say."""

MOULIN_CONN_ID = "moulin_default"

XCOM_JOB_ID = "job_id"
"""XCom with the worker's name for the job, there as soon as the worker has it."""

# Where the classes live whose values become dicts. A module that no value can be of has no need to be loaded.
_BUILDERS = ("moulin.source.", "moulin.landing", "moulin.tables")

# The worker's own deadline should be heard first, then the trigger's; Airflow's end of a deferral says least.
_TIMEOUT_GRACE = timedelta(seconds=30)
# A task process that is told to end has five seconds. That is long enough for any cancel, one small call at each host.
_KILL_SECONDS = 4.0
# OpenLineage asks in a process that it ends after ten (`openlineage.execution_timeout`): nothing is told then.
_LINEAGE_SECONDS = 4.0


class MoulinJobOperator(BaseOperator):
    """Asks a Moulin worker for a job and waits for it; a class that builds on it says in `job_spec` for which.

    It has no `__init__`, because Airflow looks through the DAG's defaults once for every one in the line of classes: a
    class that builds on it names the arguments below itself, as `MoulinLandOperator` does, and hands them to `_set_up`.

    Every try of a task instance asks for the same job, so a retry, a lost worker process or a restarted scheduler
    finds the job that is running, or the receipt of the one that is done. A cleared task asks for a new job.

    :param target: the table where rows go. (templated)
    :param moulin_conn_id: connection of the worker. (templated)
    :param deferrable: wait in the triggerer instead of a worker slot.
    :param wait_for_completion: False: the task succeeds as soon as the worker has the job, and returns its id. It has
        no outlets unless they are given.
    :param poll_interval: seconds between two lines of progress in the log, at first; later lines come less often.
    :param cancel_on_kill: whether the job is cancelled when a user marks or clears the running task.
    :param durable: False: every try asks for a job of its own. Then a try that was lost while its job went on
        lands the same rows twice; leave it True unless that is wanted.
    :param catalog: name of the worker's catalog (`catalog.name` there), for assets and lineage: a DAG file cannot ask
        the worker for it.
    :param outlets: Airflow's own argument. Not given, it is the target as an asset, `iceberg://catalog/namespace/table`,
        when the table's name is written out: one with a template, or of a `.yaml` file, is not known when the DAG
        file is parsed, and its task names its outlets itself. So do mapped tasks of `@task.moulin`. A DAG that is
        started by this very asset gets none. Neither does a task that does not wait for its job: its end says nothing
        of the table.

    `execution_timeout` is also the job's deadline at the worker. `pool` and the total `priority_weight` are also the
    job's: which workers begin it, and which waiting job they begin first. The receipt is the return value;
    `XCOM_JOB_ID` names the job while it runs.
    """

    # A list, because Airflow writes it out for every task, and knows a tuple only after asking for all that it may be.
    template_ext: Sequence[str] = [".sql", ".yaml", ".yml"]
    operator_extra_links = (MoulinReceiptLink(),)
    ui_color = "#dcebf2"

    on_bad_row: Literal["fail", "skip", "quarantine"] = "fail"
    """What becomes of rows that do not fit, for operators that read files."""
    _waiting_for: tuple[str, int] | None = None
    """Job and epoch that this process answers for: none before it has one, and none after it has handed it on."""
    _killed = False
    """Whether this process was told to end, which leaves it a few seconds: a signal handler cannot end it."""
    _room_until: float | None = None
    _receipt: Receipt | None = None

    target: Any
    catalog: str
    moulin_conn_id: str
    deferrable: bool
    wait_for_completion: bool
    poll_interval: float
    cancel_on_kill: bool
    durable: bool

    def _set_up(self, given: Mapping[str, Any], *, target: object, catalog: str, **values: Any) -> None:
        """Keeps the arguments; `given` are those that went to Airflow."""
        target = templated(target)
        if values["wait_for_completion"] and not self.outlets and given.get("outlets") is None:
            dag = self.dag if self.has_dag() else None  # type: ignore[no-untyped-call]  # Airflow's own
            self.outlets = outlets_of(target, catalog, dag)
        # At once, because Airflow looks at every single assignment.
        vars(self).update(values, target=target, catalog=catalog)

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Airflow's own; what mapped tasks land in is an outlet too, when all of them land in one table."""
        found: OperatorPartial = super().partial(**kwargs)
        if not found.kwargs.get("outlets") and kwargs.get("outlets") is None:
            dag = found.kwargs.get("dag")
            said = {**getattr(dag, "default_args", {}), **kwargs}
            if said.get("wait_for_completion", True):
                found.kwargs["outlets"] = outlets_of(kwargs.get("target"), said.get("catalog") or CATALOG, dag)
        return found

    @abstractmethod
    def job_spec(self) -> JobSpec:
        """The job, from the arguments as they are rendered."""

    @cached_property
    def hook(self) -> MoulinHook:
        """The hook of the connection."""
        from moulin_provider.hooks.moulin import MoulinHook

        return MoulinHook(self.moulin_conn_id)

    def execute(self, context: Context) -> Any:
        """Asks for the job and waits for it, here or in the triggerer."""
        from moulin.errors import MoulinError, ResourceExhausted

        from moulin_provider.outcome import failure

        try:
            job = self._submit(context)
        except MoulinError as error:
            if self.deferrable and isinstance(error, ResourceExhausted) and error.retryable:
                self._defer_until_room(error)
            raise failure(error.fault, f"the job of task {self.task_id} was not accepted") from None
        if self.do_xcom_push:
            context["ti"].xcom_push(key=XCOM_JOB_ID, value=job.job_id)
        if not self.wait_for_completion:
            self._hand_on()
            return {"job_id": job.job_id, "table": job.table, "state": job.state.value}
        if job.state.is_final or not self.deferrable:
            return self._wait(context, job)
        return self._defer(job, context["ti"].try_number)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """The end of a deferred task; the event says how the job ended."""
        from moulin_provider.outcome import TIMEOUT, receipt_of

        if event is None:
            raise AirflowException("the trigger fired without an event")
        if event.get("status") == TIMEOUT:
            self._cancel(event["job_id"], context["ti"].try_number, "the task's execution_timeout has passed")
            raise AirflowException(
                f"job {event['job_id']} was not over within the execution_timeout of {self.execution_timeout}"
            )
        return self._report(context, receipt_of(event))

    def execute_when_taken(
        self, context: Context, event: dict[str, Any] | None = None, room_until: float | None = None
    ) -> Any:
        """Asks again, after a wait for workers that take jobs."""
        from moulin_provider.outcome import TIMEOUT

        if event is not None and event.get("status") == TIMEOUT:
            raise AirflowException(
                f"the workers took no new job within the execution_timeout of {self.execution_timeout}"
            )
        self._room_until = room_until
        return self.execute(context)

    def on_kill(self) -> None:
        """The process is told to end: by a user, by its time, or with its Airflow worker.

        Ends the job, unless a newer try has it. Which of the three it was cannot be known here. After the last one
        Airflow tries again, and the next try begins the cancelled job again.
        """
        self._killed = True
        if self._waiting_for is None:
            return
        job_id, epoch = self._waiting_for
        if not self.cancel_on_kill:
            self.log.info("job %s goes on: cancel_on_kill is off", job_id)
            return
        # This runs in a signal handler, in the middle of a call of the main thread: another thread with a
        # connection of its own cannot meet a lock that is held there.
        thread = threading.Thread(target=self._cancel, args=(job_id, epoch, "the task was ended"), daemon=True)
        thread.start()
        thread.join(_KILL_SECONDS)

    def _submit(self, context: Context) -> Job:
        from moulin_provider.place_in_queue import PlaceInQueue
        from moulin_provider.submit import submit
        from moulin_provider.task_identity import TaskIdentity

        spec = self.job_spec()
        identity = TaskIdentity.of(context["ti"], self.retries)
        place = PlaceInQueue.of(self, context["ti"])
        with self.hook.get_conn() as client:
            job = submit(
                client,
                spec,
                identity,
                self.log,
                durable=self.durable,
                place=place,
                wait_for_room=not self.deferrable,
                go_on=self._go_on,
            )
        self._waiting_for = (job.job_id, identity.epoch)
        if self._killed:
            # It was told when there was no job to cancel yet.
            self.on_kill()
        self._go_on()
        return job

    def _go_on(self) -> None:
        """Raises when the process was told to end; Airflow retries that, unless a user has decided otherwise."""
        if self._killed:
            raise AirflowException(f"the process of task {self.task_id} was told to end")

    def _hand_on(self) -> None:
        """From here on the job is not this process's to cancel; raises when that was done already."""
        self._waiting_for = None
        self._go_on()

    def _wait(self, context: Context, job: Job) -> Any:
        from moulin.errors import MoulinError
        from moulin.job import JobState

        from moulin_provider.outcome import error_event, event_of, receipt_of
        from moulin_provider.progress_log import ProgressLog

        news = ProgressLog(self.poll_interval)
        try:
            with self.hook.get_conn() as client:
                for job in client.watch(job.job_id, interval=min(self.poll_interval, 5.0)):  # noqa: B020
                    if line := news.line(job):
                        self.log.info(line)
        except MoulinError as error:
            return self._report(context, receipt_of(error_event(job.job_id, error)))
        if job.state is JobState.CANCELLED:
            self._go_on()
        return self._report(context, receipt_of(event_of(job)))

    def _defer(self, job: Job, epoch: int) -> None:
        from moulin_provider.triggers.moulin import MoulinJobTrigger

        limit: timedelta | None = self.execution_timeout
        self.log.info("waiting in the triggerer for job %s", job.job_id)
        self._hand_on()
        self.defer(
            trigger=MoulinJobTrigger(
                job_id=job.job_id,
                epoch=epoch,
                moulin_conn_id=self.moulin_conn_id,
                poll_interval=self.poll_interval,
                deadline=None if limit is None else time.time() + (limit + _TIMEOUT_GRACE / 2).total_seconds(),
                cancel_on_kill=self.cancel_on_kill,
                not_before=time.time() + supervisor_seconds(),
            ),
            method_name="execute_complete",
            kwargs=self._defer_kwargs(),
            timeout=None if limit is None else limit + _TIMEOUT_GRACE,
        )

    def _defer_until_room(self, error: MoulinError) -> None:
        from moulin_provider.triggers.room import MoulinRoomTrigger

        limit: timedelta | None = self.execution_timeout
        # The time that was spent in an earlier wait counts too.
        until = self._room_until or (None if limit is None else time.time() + limit.total_seconds())
        self.log.info("the workers take no new job now, waiting in the triggerer until they do: %s", error.message)
        self.defer(
            trigger=MoulinRoomTrigger(
                self.moulin_conn_id, deadline=until, not_before=time.time() + supervisor_seconds()
            ),
            method_name="execute_when_taken",
            kwargs={"room_until": until},
            timeout=None if until is None else timedelta(seconds=max(until - time.time(), 0.0)) + _TIMEOUT_GRACE,
        )

    def _defer_kwargs(self) -> dict[str, Any]:
        """What `execute_complete` gets besides context and event, for operators that are built on this one."""
        return {}

    def _cancel(self, job_id: str, epoch: int, reason: str) -> None:
        from moulin.errors import MoulinError, StaleEpoch

        from moulin_provider.cancelling import cancel

        try:
            job = cancel(self.hook.get_conn_of_each_host(), job_id, reason, epoch, _KILL_SECONDS)
            self.log.info("cancel of job %s was asked for: it is %s", job_id, job.state)
        except StaleEpoch as error:
            self.log.info("job %s goes on: %s", job_id, error.message)
        except MoulinError as error:
            self.log.warning("job %s could not be cancelled, its deadline ends it: %s", job_id, error)

    def _report(self, context: Context, receipt: Receipt) -> dict[str, Any]:
        from moulin_provider.reject_log import left_out, skipped_files
        from moulin_provider.xcom_receipt import xcom_receipt

        self.log.info("%s", receipt)
        # A line each: the pages that show a log keep no line breaks within a message.
        for line in (*left_out(receipt, self.on_bad_row), *skipped_files(receipt)):
            self.log.warning("%s", line)
        for one in receipt.tables:
            self.log.info("read %s: %s as of snapshot %s, %s rows", one.name, one.table, one.snapshot_id, one.rows_read)
        self._receipt = receipt
        for asset in assets_of(receipt.table, self.outlets):
            context["outlet_events"][asset].extra = event_extra(receipt)
        return xcom_receipt(receipt)

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Patterns in, table out; what OpenLineage asks before the task."""
        from moulin_provider import lineage

        return lineage.begun(self.job_spec(), self._catalog())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Files in, table out, columns and counts; what OpenLineage asks after the task."""
        from moulin_provider import lineage

        spec = self.job_spec()
        if self._receipt is None:
            return lineage.begun(spec, self._catalog())
        return lineage.ended(spec, self._catalog(), self._receipt, self._plan_for_lineage(spec))

    def _plan_for_lineage(self, spec: JobSpec) -> JobPlan | None:
        from moulin.errors import MoulinError

        try:
            with self.hook.get_conn(timeout=_LINEAGE_SECONDS) as client:
                return client.plan(spec)
        except MoulinError as error:
            self.log.info("lineage has no columns: %s", error.message)
            return None

    def _catalog(self) -> str:
        """The catalog's name: that of the outlet that is the target, else as it was said."""
        table = self.job_spec().target.table
        return next((table_of(asset.uri)[0] for asset in assets_of(table, self.outlets)), self.catalog)


def supervisor_seconds() -> float:
    """How long the supervisor of a deferring task may be busy with its end.

    It looks for the end of the task's process once every `min_heartbeat_interval`. When it reports that end while the
    task, whose trigger has fired, is queued or runs again, the scheduler takes the new run for one that was killed
    and fails it. So the trigger of a job that is over at once waits for the supervisor.
    """
    return float(conf.getint("workers", "min_heartbeat_interval", fallback=5)) + 1.5


def templated(value: Any) -> Any:
    """A builder's value in a form that Airflow can template and show: dicts and texts; a LazyFrame as its plan."""
    if value is None or isinstance(value, (str, dict)):
        return value
    if type(value).__module__.startswith(_BUILDERS):
        return value.to_dict()
    from moulin.transform import Sql, is_lazy_frame, polars_plan

    if isinstance(value, Sql):
        return value.query
    return polars_plan(value) if is_lazy_frame(value) else value


def templated_tables(value: Any) -> Any:
    """Tables by name in such a form; the name of a file, or what an upstream task gives, as it is."""
    return {name: templated(one) for name, one in value.items()} if isinstance(value, dict) else value


def transform_of(value: Any) -> Any:
    """A transform as `JobSpec` takes it: a text is a SELECT."""
    from moulin.transform import Sql

    return Sql(value) if isinstance(value, str) else value


def parsed(name: str, value: Any) -> Any:
    """The dict in a YAML text, which is what a `.yaml` file became; anything else as it is."""
    if not isinstance(value, str):
        return value
    import yaml
    from moulin.errors import SpecError

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SpecError.about(name, str(error), "YAML in the shape of a job file") from error
