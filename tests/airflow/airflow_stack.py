"""What a case talks to: the running Airflow, the worker, its tables and jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from gated_files import GatedFiles

    from local_stack import LocalAirflow, LocalWorker
    from moulin import Client


@dataclass
class Stack:
    """What a case talks to."""

    airflow: LocalAirflow
    worker: LocalWorker
    client: Client
    files: GatedFiles

    def rows(self, table: str) -> pa.Table:
        """The table as PyIceberg reads it."""
        return self.table(table).scan().to_arrow()

    def table(self, table: str) -> Any:
        """The PyIceberg table."""
        return self._catalog().load_table(table)

    def exists(self, table: str) -> bool:
        """Whether anybody has made the table."""
        return bool(self._catalog().table_exists(table))

    def _catalog(self) -> Any:
        from pyiceberg.catalog.sql import SqlCatalog

        return SqlCatalog("moulin", uri=self.worker.catalog_uri, warehouse=self.worker.warehouse)

    def jobs(self, run_id: str) -> list[Any]:
        """The worker's jobs of one DAG run, oldest first."""
        return [job for job in self.client.list() if job.key.run_id == run_id][::-1]
