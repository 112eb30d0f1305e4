"""A web server whose files stop half way until a test opens their gate: jobs that run exactly as long as needed."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A worker looks at about one MiB to find the columns; that much must come without waiting.
_FREE_BYTES = 3 << 20
_SIGN_OF_LIFE_SECONDS = 5.0
_LINE = "{n},{half},name-{n:012d}\n"
HEADER = "id,half,name\n"


def rows_csv(rows: int) -> bytes:
    """A CSV file of this many rows: a whole number, half of it, a name."""
    return (HEADER + "".join(_LINE.format(n=n, half=n / 2) for n in range(rows))).encode()


class GatedFiles:
    """Serves files; each stops after three MiB until `open` is called for it."""

    ROWS = 160_000

    def __init__(self) -> None:
        self._content = rows_csv(self.ROWS)
        assert len(self._content) > _FREE_BYTES * 1.5
        self._gates: dict[str, threading.Event] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def add(self, name: str) -> str:
        """Makes a file with a closed gate and gives back its uri."""
        self._gates[f"/{name}.csv"] = threading.Event()
        return f"http://127.0.0.1:{self._server.server_port}/{name}.csv"

    def open(self, name: str) -> None:
        """Lets the rest of the file through, now and from now on."""
        self._gates[f"/{name}.csv"].set()

    def close(self) -> None:
        """Opens every gate and stops serving."""
        for gate in self._gates.values():
            gate.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        content, gates = self._content, self._gates

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._head()

            def do_GET(self) -> None:
                gate = self._head()
                if gate is None:
                    return
                try:
                    self.wfile.write(content[:_FREE_BYTES])
                    self.wfile.flush()
                    sent = _FREE_BYTES
                    # A worker gives up a server that says nothing for half a minute.
                    while not gate.wait(_SIGN_OF_LIFE_SECONDS):
                        self.wfile.write(content[sent : sent + 1])
                        sent += 1
                    self.wfile.write(content[sent:])
                except OSError:
                    self.close_connection = True  # the reader has gone, which some tests want

            def _head(self) -> threading.Event | None:
                gate = gates.get(self.path)
                self.send_response(404 if gate is None else 200)
                self.send_header("Content-Length", "0" if gate is None else str(len(content)))
                self.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
                self.send_header("ETag", '"1"')
                self.end_headers()
                return gate

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler
