"""A real worker, its inputs, and clients of it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from local_stack.worker import LocalWorker

import moulin

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1000


def worker_binary() -> Path:
    """The worker under test; `MOULIN_BIN` names another one than the last build's."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return Path(os.environ.get("MOULIN_BIN") or target / "release" / "moulin")


@pytest.fixture(scope="session")
def new_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalWorker]]:
    """Makes workers, each with a store, catalog and warehouse of its own; not started yet."""
    binary = worker_binary()
    if "MOULIN_BIN" not in os.environ and not binary.exists():
        pytest.fail(f"there is no worker at {binary}: build it, or name it in MOULIN_BIN")
    made: list[LocalWorker] = []

    def make(**env: str) -> LocalWorker:
        # Inputs come from this machine, whatever proxy the environment names.
        settings = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **env}
        made.append(LocalWorker(binary, tmp_path_factory.mktemp("worker"), env=settings))
        return made[-1]

    yield make
    left = [found for worker in made for found in worker.stop_all().values()]
    assert not left, f"processes outlived their worker: {left}"


@pytest.fixture(scope="session")
def worker(new_worker: Callable[..., LocalWorker]) -> LocalWorker:
    """One worker for all tests that do not harm it."""
    made = new_worker()
    made.start()
    return made


@pytest.fixture
def client(worker: LocalWorker) -> Iterator[moulin.Client]:
    with moulin.Client(worker.address) as made:
        yield made


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    """A table that no other test writes."""
    return "client." + re.sub(r"\W+", "_", request.node.name)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """`ROWS` rows of id, name, score and since; every tenth score is NA."""
    path = tmp_path / "people.csv"
    path.write_text(people_csv(0, ROWS))
    return path


def people_csv(first: int, last: int) -> str:
    rows = (f"{n},name {n},{'NA' if n % 10 == 0 else n / 4},2024-01-{n % 28 + 1:02}" for n in range(first, last))
    return "id,name,score,since\n" + "\n".join(rows) + "\n"


class StalledSource:
    """Two CSV files over HTTP, of which the second stops in the middle until `release`."""

    def __init__(self) -> None:
        self.files = {"/a.csv": people_csv(0, 500).encode(), "/b.csv": people_csv(500, ROWS).encode()}
        self.reached = threading.Event()
        self._released = threading.Event()
        source = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                body = source.files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.send_header("ETag", f'"{self.path}"')
                self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                body = source.files.get(self.path, b"")
                middle = len(body) // 2 if self.path == "/b.csv" else len(body)
                try:
                    self.wfile.write(body[:middle])
                    self.wfile.flush()
                    if middle < len(body):
                        source.reached.set()
                        source._released.wait(60)
                    self.wfile.write(body[middle:])
                except OSError:
                    self.close_connection = True  # the reader went away: a cancelled job

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uris = [f"http://127.0.0.1:{self._server.server_port}{path}" for path in self.files]
        self._thread = threading.Thread(target=self._server.serve_forever, name="stalled source")
        self._thread.start()

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def stalled() -> Iterator[StalledSource]:
    source = StalledSource()
    yield source
    source.close()
