"""How the stack talks to Airflow's REST API, which is played here."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_stack import LocalAirflow
from local_stack.airflow_home import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCKED = (500, {"detail": {"reason": "Database error", "statement": "hidden", "orig_error": "hidden"}})
MADE = (200, {"dag_run_id": "r"})


class Played(ThreadingHTTPServer):
    """An api-server that gives its answers one after the other, the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.answers: list[tuple[int, dict[str, object]]] = []
        self.asked = 0


class Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Played)
        self.rfile.read(int(self.headers["Content-Length"]))
        answers = self.server.answers
        status, body = answers[min(self.server.asked, len(answers) - 1)]
        self.server.asked += 1
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Played]:
    with Played() as played:
        thread = threading.Thread(target=played.serve_forever)
        thread.start()
        yield played
        played.shutdown()
        thread.join()


@pytest.fixture
def airflow(server: Played, tmp_path: Path) -> LocalAirflow:
    local = LocalAirflow(tmp_path, python=Path(sys.executable), dag_folders={}, port=server.server_port)
    local._token = "t"
    return local


def test_a_request_that_found_the_database_locked_is_made_again(airflow: LocalAirflow, server: Played) -> None:
    server.answers = [LOCKED, LOCKED, MADE]
    assert airflow.api("POST", "/dags/d/dagRuns", {}) == {"dag_run_id": "r"}
    assert server.asked == 3


def test_a_database_that_stays_locked_is_told(airflow: LocalAirflow, server: Played) -> None:
    server.answers = [LOCKED]
    with pytest.raises(ApiError, match="Database error"):
        airflow.api("POST", "/dags/d/dagRuns", {})
    assert server.asked == 3


def test_what_airflow_refuses_is_not_asked_again(airflow: LocalAirflow, server: Played) -> None:
    server.answers = [(500, {"detail": "Internal Server Error"}), MADE]
    with pytest.raises(ApiError):
        airflow.api("POST", "/dags/d/dagRuns", {})
    assert server.asked == 1
