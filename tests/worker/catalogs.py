"""The catalogs a worker can land into, each with the settings of the worker and the same catalog as PyIceberg opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog


@dataclass(frozen=True)
class CatalogUnderTest:
    """One catalog."""

    settings: Mapping[str, str]
    open: Callable[[], Catalog]


def sqlite(state: Path) -> CatalogUnderTest:
    """The embedded one, with its warehouse beside it."""
    return _sql(f"sqlite://{state}/catalog.db", f"sqlite:///{state}/catalog.db", f"file://{state}/warehouse")


def postgres(state: Path, url: str) -> CatalogUnderTest:
    """One in a database of a real server, with a local warehouse."""
    return _sql(url, url.replace("postgresql:", "postgresql+psycopg2:"), f"file://{state}/warehouse")


def _sql(ours: str, theirs: str, warehouse: str) -> CatalogUnderTest:
    return CatalogUnderTest(
        {"MOULIN_CATALOG_URI": ours, "MOULIN_WAREHOUSE": warehouse},
        lambda: SqlCatalog("moulin", uri=theirs, warehouse=warehouse),
    )
