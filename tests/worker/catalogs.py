"""The catalogs a worker can land into, each with the settings of the worker and the same catalog as PyIceberg opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog

from local_stack.rest_catalog import LocalRestCatalog
from local_stack.s3 import REGION, LocalS3


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


def on_s3(url: str, bucket: str, s3: LocalS3) -> CatalogUnderTest:
    """A SQL catalog whose tables are in a bucket; the worker is not told how to reach it."""
    return _sql(url, url.replace("postgresql:", "postgresql+psycopg2:"), f"s3://{bucket}/warehouse", **s3.properties)


def rest(server: LocalRestCatalog, s3: LocalS3) -> CatalogUnderTest:
    """One behind a server that gives out the credentials to its tables' files."""
    place = {"s3.endpoint": s3.endpoint, "s3.region": REGION}
    settings = {
        "MOULIN_CATALOG_URI": server.uri,
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
    }
    return CatalogUnderTest(settings, lambda: load_catalog("rest", type="rest", uri=server.uri, **place))


def _sql(ours: str, theirs: str, warehouse: str, **properties: str) -> CatalogUnderTest:
    return CatalogUnderTest(
        {"MOULIN_CATALOG_URI": ours, "MOULIN_WAREHOUSE": warehouse},
        lambda: SqlCatalog("moulin", uri=theirs, warehouse=warehouse, **properties),
    )
