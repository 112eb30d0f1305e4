"""Memory: a CSV file larger than memory, made while it is read and served over HTTP, is read or landed.

    python -m benches.stream [--gb 20] [--threads 2] [--what read|land]

The server is a real one, in a process of its own; it knows no ranges and holds one block of rows. `read` reads to Arrow
batches and drops them; `land` is `moulin run` into a fresh catalog and warehouse. The number of rows is compared, and the
peak resident set printed beside the promise: 512 MB for any size of file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

from benches.measure import ROOT, Memory

ROWS_IN_BLOCK = 10_000
MARK = b"##########"
HEADER = b"id,amount,day,name\n"
COLUMNS = {"id": "long", "amount": "decimal(12,2)", "day": "date", "name": "string"}
PROMISED_MB = 512 * 1.048576


def block() -> bytes:
    """Rows whose ids begin with the mark, which becomes the number of the block; some names have two lines."""
    rows = (
        f'{MARK.decode()}{n:04d},{n % 9973}.{n % 100:02d},20{n % 30:02d}-{n % 12 + 1:02d}-{n % 28 + 1:02d},"name{" " if n % 5 else chr(10)}{n % 97}"\n'
        for n in range(ROWS_IN_BLOCK)
    )
    return "".join(rows).encode()


class Handler(BaseHTTPRequestHandler):
    """One file of `blocks` blocks, under any path."""

    protocol_version = "HTTP/1.1"
    template: ClassVar[bytes] = block()
    blocks: ClassVar[int] = 0

    def log_message(self, *_: Any) -> None:
        """Nothing is written for a request."""

    def do_HEAD(self) -> None:
        """Its size."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(HEADER) + self.blocks * len(self.template)))
        self.end_headers()

    def do_GET(self) -> None:
        """All of it, whatever range was asked for."""
        self.do_HEAD()
        try:
            self.wfile.write(HEADER)
            for number in range(self.blocks):
                self.wfile.write(self.template.replace(MARK, b"%010d" % number))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever looks at the schema reads only the start


def serve(blocks: int, told: Connection) -> None:
    """Serves until the process is ended."""
    Handler.blocks = blocks
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_port)
    server.serve_forever()


def command(what: str, uri: str, threads: int, folder: Path) -> list[str]:
    """What is measured."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
    if what == "read":
        typed = [f"{name}:{kind}" for name, kind in COLUMNS.items()]
        return [str(target / "examples" / "read"), uri, str(threads), *typed]
    job = folder / "job.json"
    columns = [{"name": name, "type": kind} for name, kind in COLUMNS.items()]
    source = {"uris": [uri], "format": "csv", "columns": columns}
    job.write_text(json.dumps({"source": source, "target": {"table": "bench.stream"}}))
    return [str(target / "moulin"), "run", str(job), "--json"]


def measure(what: str, uri: str, threads: int) -> tuple[int, float, float, float, float]:
    """Rows, wall and CPU seconds, peak resident set and its anonymous part in MB."""
    folder = Path(tempfile.mkdtemp(prefix="moulin-stream-"))
    try:
        env = os.environ | {"MOULIN_STATE_DIR": str(folder), "MOULIN_JOB_THREADS": str(threads)}
        started = time.perf_counter()
        arguments = command(what, uri, threads, folder)
        with subprocess.Popen(arguments, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as process:
            memory = Memory(process.pid)
            text = process.stdout.read() if process.stdout else ""
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            rss, anon = memory.stop()
        if process.returncode != 0:
            sys.exit(f"{what} ended with {process.returncode}: {text}")
        rows = int(text.split()[0]) if what == "read" else int(json.loads(text)["rows_landed"])
        return rows, wall, usage.ru_utime + usage.ru_stime, rss, anon
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Serves, measures, prints."""
    parser = argparse.ArgumentParser(
        prog="benches.stream", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--what", choices=("read", "land"), default="read")
    asked = parser.parse_args()
    blocks = max(1, int(asked.gb * 1e9 / len(Handler.template)))
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=serve, args=(blocks, there), daemon=True)
    server.start()
    uri = f"http://127.0.0.1:{here.recv()}/generated.csv"
    try:
        rows, wall, cpu, rss, anon = measure(asked.what, uri, asked.threads)
    finally:
        server.terminate()
    if rows != blocks * ROWS_IN_BLOCK:
        sys.exit(f"{rows} rows came, {blocks * ROWS_IN_BLOCK} were served")
    size = (len(HEADER) + blocks * len(Handler.template)) / 1e9
    print(
        f"{asked.what}: {size:.1f} GB of CSV over HTTP, {rows:,} rows, {asked.threads} threads: wall {wall:.1f} s, CPU {cpu:.1f} s, "
        f"peak RSS {rss:.0f} MB, of it anonymous {anon:.0f} MB (promised: {PROMISED_MB:.0f} MB)"
    )
    if rss > PROMISED_MB:
        sys.exit("more memory than is promised")


if __name__ == "__main__":
    main()
