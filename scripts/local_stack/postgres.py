"""A PostgreSQL server for tests, with a folder of its own that goes away with it.

`python -m local_stack.postgres` (with `scripts` on the path) starts one, prints its URL, and ends it when its
standard input closes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from local_stack.installed import maven_jars, unpacked
from local_stack.processes import LocalProcess, StackError, free_port, wait_until

USER = "moulin"
DATABASE = "postgres"
READY = "database system is ready to accept connections"


class LocalPostgres:
    """One server on a free port of this machine, which stays the same over restarts."""

    def __init__(self) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(12)
        # Not in a folder of the test: the server refuses to run as root, and another user may not look in there.
        self.folder = Path(tempfile.mkdtemp(prefix="moulin-postgres-"))
        self.log = self.folder / "postgres.log"
        self._owner = _other_user()
        self._programs = _programs(self._owner, self.folder)
        self._process: LocalProcess | None = None
        self._make()

    @property
    def url(self) -> str:
        """`postgresql://user:password@host:port/database`."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        # Only tests from Python need it; the Rust tests start the server without the project's environment.
        import psycopg2

        name = f"test_{secrets.token_hex(6)}"
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True  # CREATE DATABASE cannot be in a transaction
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()
        return self.url.removesuffix(DATABASE) + name

    def start(self) -> None:
        """Starts the server and returns when it takes connections."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        self._process = LocalProcess(
            "postgres",
            [str(self._programs / "bin" / "postgres"), "-D", str(self.folder / "data")],
            env=_environment(),
            log=self.log,
            cwd=self.folder,
            user=self._owner,
        )

        def ready() -> bool:
            assert self._process is not None
            self._process.expect_alive()
            return READY in self.log.read_bytes()[begin:].decode(errors="replace")

        wait_until("PostgreSQL is ready", ready, 60, every=0.02)

    def pause(self) -> None:
        """SIGSTOP to all its processes: it takes connections and never answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after a pause."""
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to all its processes; `start` recovers what was committed."""
        if self._process is not None:
            self._signal_all(signal.SIGKILL)
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        """Ends it without waiting for its clients."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGINT)  # "fast": SIGTERM waits until all clients have gone
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """Ends it and removes its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(self.password)
        if self._owner is not None:
            for path in (self.folder, password):
                os.chown(path, self._owner, -1)
        command = [
            f"{self._programs}/bin/initdb", "-D", f"{self.folder}/data", "--username", USER, "--pwfile", str(password),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(
            command, env=_environment(), cwd=self.folder, user=self._owner, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise StackError(f"initdb ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        password.unlink()
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            # Tests kill the process, not the machine: what it handed to the system stays.
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                "fsync = off\nshared_buffers = 32MB\nmax_connections = 200\nautovacuum = off\n"
            )

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None, "PostgreSQL was not started"
        # Its children lead groups of their own, and are nobody's once it is gone.
        for pid in [self._process.pid, *_children(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _other_user() -> int | None:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _programs(owner: int | None, folder: Path) -> Path:
    (archive,) = maven_jars("postgres").glob("embedded-postgres-binaries-*.jar")
    programs = unpacked("postgres-programs", archive, _unpack)
    if owner is None or all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        return programs
    return Path(shutil.copytree(programs, folder / "programs", symlinks=True))


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as jar:
        (name,) = (name for name in jar.namelist() if name.endswith(".txz"))
        with jar.open(name) as packed, tarfile.open(fileobj=packed, mode="r:xz") as files:
            files.extractall(folder, filter="tar")


def main() -> None:
    """One server until standard input closes."""
    server = LocalPostgres()
    try:
        server.start()
        print(server.url, flush=True)
        sys.stdin.read()
    finally:
        server.close()


if __name__ == "__main__":
    main()
