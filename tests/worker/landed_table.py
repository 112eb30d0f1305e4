"""A table as PyIceberg sees it, and the files that lie in its warehouse."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table


def catalog(state: Path, uri: str = "") -> SqlCatalog:
    """The catalog of a worker with the defaults, or another SQL catalog with the same warehouse."""
    return SqlCatalog("moulin", uri=uri or f"sqlite:///{state}/catalog.db", warehouse=f"file://{state}/warehouse")


class LandedTable:
    """One table of a worker's catalog, looked up anew at every question."""

    def __init__(self, state: Path, name: str = "bronze.numbers", uri: str = ""):
        self.name = name
        self._catalog = catalog(state, uri)
        self._warehouse = state / "warehouse"

    def load(self) -> Table:
        """The table as it stands now."""
        return self._catalog.load_table(self.name)

    def drop(self) -> None:
        """Takes it out of the catalog; its files stay."""
        self._catalog.drop_table(self.name)

    def snapshot_id(self) -> int | None:
        """The current snapshot; None also when there is no table."""
        try:
            snapshot = self.load().current_snapshot()
        except NoSuchTableError:
            return None
        return snapshot.snapshot_id if snapshot else None

    def ids(self) -> list[int]:
        """The column `id` of all rows, in order."""
        return sorted(self.load().scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())

    def data_files(self) -> list[Path]:
        """The data files the current snapshot refers to, each as often as it does so."""
        return sorted(_path(task.file.file_path) for task in self.load().scan().plan_files())

    def files_on_disk(self) -> list[Path]:
        """The data files that lie in its folder of the warehouse, referred to or not."""
        return sorted(self._warehouse.joinpath(*self.name.split(".")).rglob("*.parquet"))

    def holds_each_row_once(self, ids: list[int]) -> None:
        """Checks that the table holds these rows, and the warehouse its files and no others."""
        assert self.ids() == ids
        assert self.data_files() == self.files_on_disk()


def _path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
