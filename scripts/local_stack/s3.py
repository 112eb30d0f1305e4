"""An S3-compatible server (Versity S3 Gateway over a folder), as a process that a test starts, stops and kills."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from local_stack.installed import go_program
from local_stack.processes import LocalProcess, free_port, listens, wait_until

if TYPE_CHECKING:
    from pathlib import Path

MODULE, VERSION = "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"
REGION = "us-east-1"


class LocalS3:
    """One server on a free port, which stays the same over restarts; its buckets are folders of its folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port()
        self.access_key_id = f"key{secrets.token_hex(6)}"
        self.secret_access_key = f"secret{secrets.token_hex(16)}"
        self.log = folder / "s3.log"
        self._process: LocalProcess | None = None
        for part in ("buckets", "attributes"):
            (folder / part).mkdir(parents=True)

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:port`; requests name the bucket in their path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which AWS's tools, and so Moulin, find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    @property
    def properties(self) -> dict[str, str]:
        """The same as properties of Iceberg's file access, in PyIceberg and Java alike."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.region": REGION,
            "s3.access-key-id": self.access_key_id,
            "s3.secret-access-key": self.secret_access_key,
            "s3.path-style-access": "true",
        }

    def new_bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"bucket-{secrets.token_hex(6)}"
        (self.folder / "buckets" / name).mkdir()
        return name

    def path(self, bucket: str) -> Path:
        """The folder with a bucket's objects as files."""
        return self.folder / "buckets" / bucket

    def start(self) -> None:
        """Starts the server and returns when it takes connections."""
        program = go_program(MODULE, VERSION)
        # Without --keep-alive: on a connection that is used again the server takes what was left of one request for the
        # head of the next, and answers 400.
        self._process = LocalProcess(
            "s3",
            [
                str(program), "--port", f"127.0.0.1:{self.port}", "--region", REGION, "--quiet",
                "posix", "--sidecar", str(self.folder / "attributes"), str(self.folder / "buckets"),
            ],
            env={**os.environ, "ROOT_ACCESS_KEY": self.access_key_id, "ROOT_SECRET_KEY": self.secret_access_key},
            log=self.log,
            cwd=self.folder,
        )  # fmt: skip

        def ready() -> bool:
            self.process.expect_alive()
            return listens(self.port)

        wait_until("the S3 server listens", ready, 30, every=0.05)

    @property
    def process(self) -> LocalProcess:
        """Its process, for signals."""
        assert self._process is not None, "the S3 server was not started"
        return self._process

    def kill(self) -> None:
        """SIGKILL; `start` goes on with what was written."""
        self.process.kill()

    def stop(self) -> None:
        """SIGTERM."""
        if self._process is not None:
            self._process.stop()
            self._process = None
