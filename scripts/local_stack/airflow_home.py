"""A real Airflow on this machine: SQLite, api-server, scheduler, dag-processor and triggerer."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

from local_stack.processes import MARK, LocalProcess, StackError, free_port, stop_marked, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
FINAL_RUN_STATES = ("success", "failed")


class ApiError(StackError):
    """Airflow's REST API answered with an error status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class LocalAirflow:
    """The four components of an Airflow whose home is one folder.

    `python` is the interpreter of the environment Airflow is installed in; `dag_folders` maps a bundle's name to
    its folder; `env` is added to every component (and so seen by DAG files, tasks and triggers).
    """

    def __init__(
        self,
        home: Path,
        *,
        python: Path,
        dag_folders: Mapping[str, Path],
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        mark: str | None = None,
    ):
        self.home = home.resolve()
        self.python = python
        self.port = port or free_port()
        self.mark = mark or uuid.uuid4().hex
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: dict[str, LocalProcess] = {}
        self.ended: list[str] = []
        """Components that ended by themselves and were started again."""
        self._token = ""
        self.env = {**os.environ, **self._settings(dag_folders), **(env or {}), MARK: self.mark}

    def _settings(self, dag_folders: Mapping[str, Path]) -> dict[str, str]:
        bundles = [
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(folder.resolve())},
            }
            for name, folder in dag_folders.items()
        ]
        secret = uuid.uuid4().hex + uuid.uuid4().hex
        options = {
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__DAGS_FOLDER": str(self.home / "no-dags"),
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__TEST_CONNECTION": "Enabled",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__BASE_URL": self.url,
            "API__WORKERS": "1",
            "API__SECRET_KEY": secret,
            "API_AUTH__JWT_SECRET": secret,
            "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            # How soon the end of a task, and a user's mark on it, is noticed.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            # How soon a killed scheduler, triggerer or task process is noticed.
            "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        # The environment's own bin first: Airflow starts `airflow` and `python` by name.
        path = os.pathsep.join([str(self.python.parent), os.environ.get("PATH", "")])
        return {
            "AIRFLOW_HOME": str(self.home),
            "PATH": path,
            "PYTHONUNBUFFERED": "1",
            **{f"AIRFLOW__{name}": value for name, value in options.items()},
        }

    # -- processes -------------------------------------------------------------------------------------------------

    def cli(self, *arguments: str, timeout: float = 120.0) -> str:
        """Runs `airflow ...` in this home and gives back what it printed."""
        done = subprocess.run(
            [str(self.python), "-m", "airflow", *arguments],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(
                f"airflow {' '.join(arguments)} ended with code {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
            )
        return done.stdout

    def start(self) -> None:
        """Makes the database and starts the components; `wait_healthy` says when they are ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.cli("db", "migrate", timeout=300)
        for component in COMPONENTS:
            self.start_component(component)

    def start_component(self, component: str) -> None:
        """Starts one of `COMPONENTS`."""
        self._processes[component] = LocalProcess(
            component,
            [str(self.python), "-m", "airflow", component],
            env=self.env,
            log=self.home / "processes" / f"{component}.log",
            cwd=self.home,
        )

    def stop_component(self, component: str) -> None:
        """Stops one of `COMPONENTS`."""
        self._processes.pop(component).stop()

    def kill_component(self, component: str) -> None:
        """SIGKILL to one of `COMPONENTS` and all it started."""
        self._processes.pop(component).kill()

    def wait_healthy(self, timeout: float = 300.0) -> None:
        """Waits until the API says that every component is healthy. A 200 alone means nothing: unknown paths answer it too."""
        wait_until("Airflow is healthy", self._healthy, timeout, every=0.5)

    def _healthy(self) -> bool:
        for process in self._processes.values():
            process.expect_alive()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/monitor/health", timeout=5) as answer:
                health = json.load(answer)
        except (OSError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all(health.get(part, {}).get("status") == "healthy" for part in parts)

    def _start_again_what_ended(self) -> None:
        """What a process manager does. Airflow 3.1's scheduler ends when a task is cleared while it takes note of its end."""
        for component, process in list(self._processes.items()):
            if not process.alive():
                self.ended.append(component)
                if self.ended.count(component) > 3:
                    raise StackError(f"the {component} ended by itself again and again:\n{process.tail(40)}")
                self.start_component(component)

    def stop(self) -> dict[int, str]:
        """Stops everything; gives back the processes that outlived their group and had to be ended by their mark."""
        for process in self._processes.values():
            process.ask_to_stop()
        for process in self._processes.values():
            process.stop(patience=10.0)
        self._processes.clear()
        return stop_marked(self.mark)

    def logs(self, lines: int = 40) -> str:
        """The ends of the components' logs, for a failure's message."""
        return "\n".join(f"--- {name}\n{process.tail(lines)}" for name, process in self._processes.items())

    # -- REST API --------------------------------------------------------------------------------------------------

    @property
    def user(self) -> str:
        """Name for the login page."""
        return "admin"

    @property
    def password(self) -> str:
        """Password for the login page; Airflow makes it at its first start."""
        made = self.home / "simple_auth_manager_passwords.json.generated"
        return str(json.loads(made.read_text())["admin"])

    def api(self, method: str, path: str, body: object = None, *, accept: str = "application/json") -> Any:
        """Calls `/api/v2<path>` and decodes the answer. `ApiError` with the answer's body when it is refused."""
        self._start_again_what_ended()
        if not self._token:
            login = {"username": self.user, "password": self.password}
            self._token = self._call("POST", "/auth/token", login, {})["access_token"]
        headers = {"Authorization": f"Bearer {self._token}", "Accept": accept}
        return self._call_unlocked(method, f"/api/v2{path}", body, headers)

    def _call_unlocked(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> Any:
        """A call that is made again where it found the database locked, which is before it wrote anything.

        The api-server notes who asks for what in its event loop, and waits there for SQLite's lock. Another request may
        hold that and need the loop to let it go: after five seconds SQLite gives up, and the note's request fails.
        """
        for _ in range(2):
            try:
                return self._call(method, path, body, headers)
            except ApiError as error:
                if error.status != 500 or '"Database error"' not in str(error):
                    raise
        return self._call(method, path, body, headers)

    def _call(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"Content-Type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise ApiError(
                error.code, f"{method} {path} answered {error.code}: {error.read().decode()[:2000]}"
            ) from None
        return json.loads(text) if text else None

    def wait_dag(self, dag_id: str, timeout: float = 240.0) -> None:
        """Waits until the DAG is known; a DAG file that cannot be imported ends the waiting with its error."""

        def look() -> bool:
            try:
                self.api("GET", f"/dags/{_quote(dag_id)}")
            except ApiError as error:
                if error.status != 404:
                    raise
                errors = self.api("GET", "/importErrors")["import_errors"]
                if errors:
                    raise StackError("\n".join(f"{e['filename']}:\n{e['stack_trace']}" for e in errors)) from None
                return False
            return True

        wait_until(f"the DAG {dag_id} is there", look, timeout, every=0.5)

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None, *, run_id: str | None = None) -> str:
        """Starts a run and gives back its id."""
        self.wait_dag(dag_id)
        body: dict[str, object] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.api("POST", f"/dags/{_quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """`queued`, `running`, `success` or `failed`."""
        return str(self.api("GET", f"/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}")["state"])

    def wait_run(
        self, dag_id: str, run_id: str, timeout: float = 300.0, *, states: Sequence[str] = FINAL_RUN_STATES
    ) -> str:
        """Waits for the end of a run and gives back its state."""

        def look() -> str | None:
            state = self.run_state(dag_id, run_id)
            return state if state in states else None

        return wait_until(f"run {run_id} of {dag_id} is one of {', '.join(states)}", look, timeout)

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """The task instance as the API shows it (`state`, `try_number`, `max_tries`, ...)."""
        found: dict[str, Any] = self.api("GET", _task_path(dag_id, run_id, task_id))
        return found

    def wait_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, timeout: float = 240.0, try_number: int = 0
    ) -> dict[str, Any]:
        """Waits until the task instance (of at least the given try) is in one of the states."""

        def look() -> dict[str, Any] | None:
            task = self.task(dag_id, run_id, task_id)
            return task if task["state"] in states and task["try_number"] >= try_number else None

        return wait_until(f"task {task_id} of {dag_id} is one of {', '.join(states)}", look, timeout)

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """The log of one try as text, one line an event; empty while there is no such try."""
        path = f"{_task_path(dag_id, run_id, task_id)}/logs/{try_number}?full_content=true"
        try:
            content = self.api("GET", path)["content"]
        except ApiError as error:
            if error.status != 404:
                raise
            return ""
        lines = []
        for entry in content:
            if not isinstance(entry, dict):
                lines.append(str(entry))
                continue
            lines.append(f"{entry.get('timestamp') or ''} {entry.get('level') or ''} {entry.get('event') or ''}")
            for raised in entry.get("error_detail") or []:
                lines.append(f"  {raised.get('exc_type')}: {raised.get('exc_value')}")
        return "\n".join(lines)

    def wait_task_log(
        self, dag_id: str, run_id: str, task_id: str, text: str, try_number: int = 1, timeout: float = 180.0
    ) -> str:
        """Waits until the log of one try holds the text."""

        def look() -> str | None:
            log = self.task_log(dag_id, run_id, task_id, try_number)
            return log if text in log else None

        return wait_until(f"the log of {task_id} says {text!r}", look, timeout, every=0.5)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """One XCom value of an unmapped task."""
        return self.api("GET", f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{_quote(key)}?deserialize=false")[
            "value"
        ]

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """What the UI's "mark as failed / success" does."""
        body = {"new_state": state, "include_downstream": False}
        self.api("PATCH", _task_path(dag_id, run_id, task_id), body)

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """What the UI's "mark the run as failed / success" does."""
        self.api("PATCH", f"/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}", {"state": state})

    def clear(self, dag_id: str, run_id: str, task_id: str, map_index: int | None = None) -> None:
        """What the UI's "clear" does, to all instances of the task or to one of a mapped task."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id if map_index is None else [task_id, map_index]],
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.api("POST", f"/dags/{_quote(dag_id)}/clearTaskInstances", body)


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}/taskInstances/{_quote(task_id)}"


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")
