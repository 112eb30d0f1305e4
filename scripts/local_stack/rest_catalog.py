"""Apache Iceberg's server for tests of REST catalogs, as a process that a test starts, stops and kills."""

from __future__ import annotations

import os
import urllib.request
from typing import TYPE_CHECKING

from local_stack.installed import maven_jars
from local_stack.processes import LocalProcess, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

MAIN = "org.apache.iceberg.rest.RESTCatalogServer"


class LocalRestCatalog:
    """One server on a free port, which stays the same over restarts; its tables are in a SQLite file of its folder.

    `properties` are those of its own catalog, for example `io-impl` and `s3.endpoint`. With `include-credentials` it
    gives its S3 credentials to its clients. It takes any token and any client's secret.
    """

    def __init__(self, folder: Path, warehouse: str, **properties: str):
        self.folder = folder
        self.warehouse = warehouse
        self.port = free_port()
        self.log = folder / "rest-catalog.log"
        self._properties = {
            "rest.port": str(self.port),
            "uri": f"jdbc:sqlite:{folder}/rest-catalog.db",
            "warehouse": warehouse,
            **properties,
        }
        self._process: LocalProcess | None = None

    @property
    def uri(self) -> str:
        """What `catalog.uri` is to be."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        jars = maven_jars("rest-catalog")
        self._process = LocalProcess(
            "rest catalog",
            ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", MAIN],
            env={**os.environ, **{_variable(name): value for name, value in self._properties.items()}},
            log=self.log,
            cwd=self.folder,
        )
        wait_until("the REST catalog answers", self._answers, 60, every=0.1)

    def _answers(self) -> bool:
        self.process.expect_alive()
        try:
            with urllib.request.urlopen(f"{self.uri}/v1/config", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def process(self) -> LocalProcess:
        """Its process, for signals."""
        assert self._process is not None, "the REST catalog was not started"
        return self._process

    def kill(self) -> None:
        """SIGKILL; `start` goes on with what was committed."""
        self.process.kill()

    def stop(self) -> None:
        """SIGTERM."""
        if self._process is not None:
            self._process.stop()
            self._process = None


# As the server reads them: `s3.path-style-access` is CATALOG_S3_PATH__STYLE__ACCESS.
def _variable(name: str) -> str:
    return "CATALOG_" + name.replace("-", "__").replace(".", "_").upper()
