"""Iceberg tables as Airflow assets: `iceberg://catalog/namespace/table`."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
from airflow.providers.common.compat.sdk import Asset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset
    from moulin.job import Receipt

CATALOG = "moulin"
"""The usual name of a worker's catalog."""

_SCHEME = "iceberg://"
# What Airflow's database has room for.
_URI_LENGTH = 1500
_NAME = re.compile(r"[^\s/.?#%]+")
# Names that stand in a uri as they are, which nearly all tables have. Others are looked at part by part.
_PLAIN_TABLE = re.compile(r"[\w-]+(?:\.[\w-]+)+", re.ASCII)
_PLAIN_CATALOG = re.compile(r"[a-z0-9_-]+")


def iceberg_asset(table: str, *, catalog: str = CATALOG, extra: dict[str, Any] | None = None) -> Asset:
    """The asset of a table, for `schedule=[...]` of the DAGs that read it, and `outlets=[...]` of other tasks.

    `table` is `namespace.table`; `catalog` the name of the worker's catalog. The events of a
    `MoulinLandOperator` carry the snapshot, the rows and the files.

    Raises:
        ValueError: the table has no namespace, or a name cannot stand in a uri.

    """
    uri, name = asset_uri(table, catalog), f"{catalog}.{table}"
    if len(uri) > _URI_LENGTH:
        raise ValueError(f"table: found a uri of {len(uri)} characters, expected at the most {_URI_LENGTH}")
    if not (_PLAIN_TABLE.fullmatch(table) and _PLAIN_CATALOG.fullmatch(catalog)):
        parts = urlsplit(uri)
        if parts.fragment or sanitize_uri(parts) != parts:
            raise ValueError(f"table: found {table!r} in catalog {catalog!r}, expected names that can stand in a uri")
        return Asset(name=name, uri=uri, extra=extra)
    # Airflow would look at plain names again, take the uri apart, and ask the packages of all providers who knows the
    # scheme, in every process that parses a DAG file. It is `sanitize_uri` that it would find.
    asset = Asset.__new__(Asset)
    own = {"name": name, "uri": uri, "extra": extra or {}}
    for field, default in _asset_fields():
        object.__setattr__(asset, field, own[field] if field in own else default())
    return asset


@cache
def _asset_fields() -> list[tuple[str, Callable[[], Any]]]:
    """The fields of this Airflow's assets, and what makes the value of one that is not said: lists of their own."""
    plain = Asset(name="plain")

    def default_of(field: Any) -> Callable[[], Any]:
        value, default = getattr(plain, field.name), field.default
        makes_new = hasattr(default, "factory") and not default.takes_self  # else a text, the same for all
        made: Callable[[], Any] = default.factory if makes_new else lambda: value
        return made

    return [(field.name, default_of(field)) for field in attrs.fields(Asset)]


def asset_uri(table: str, catalog: str = CATALOG) -> str:
    """`iceberg://catalog/namespace/table`."""
    return f"{_SCHEME}{catalog}/{table.replace('.', '/')}"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """What Airflow asks for every asset with this scheme: one spelling for one table, and nothing else.

    Raises:
        ValueError: the uri names no table.

    """
    expected = f"expected {_SCHEME}catalog/namespace/table"
    if not uri.netloc or not _NAME.fullmatch(uri.netloc.replace(".", "")) or "@" in uri.netloc:
        raise ValueError(f"asset {uri.geturl()!r}: found the catalog {uri.netloc!r}, {expected}")
    if uri.query:
        raise ValueError(f"asset {uri.geturl()!r}: found the query {uri.query!r}, {expected}")
    # A table is `a.b.table` elsewhere, so both spellings are met.
    names = [one for part in uri.path.strip("/").split("/") for one in part.split(".")]
    if len(names) < 2 or not all(_NAME.fullmatch(name) for name in names):
        raise ValueError(f"asset {uri.geturl()!r}: found the table {uri.path!r}, {expected}")
    return uri._replace(path="/" + "/".join(names))


def table_of(uri: str) -> tuple[str, str]:
    """Catalog and table (`namespace.table`) of an asset's uri.

    Raises:
        ValueError: it is the uri of something else.

    """
    catalog, _, path = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or not path:
        raise ValueError(f"uri: found {uri!r}, expected {_SCHEME}catalog/namespace/table")
    return catalog, path.strip("/").replace("/", ".")


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> OpenLineageDataset:  # noqa: ARG001
    """The dataset that an asset is, under the name that the operators' own lineage gives it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

    catalog, table = table_of(asset.uri)
    return OpenLineageDataset(namespace=f"{_SCHEME}{catalog}", name=table)


def assets_of(table: str, outlets: Iterable[object]) -> Iterator[Asset]:
    """Those of a task's outlets that are this table, in whatever catalog."""
    for outlet in outlets:
        if isinstance(outlet, Asset) and outlet.uri.startswith(_SCHEME) and table_of(outlet.uri)[1] == table:
            yield outlet


def outlets_of(target: object, catalog: str, dag: object) -> list[Asset]:
    """The asset that a task lands in, in a list; an empty one when it is not known before the task runs.

    It is known when the target's table is written out, without a template. A DAG that is started by the asset gets
    none: it would start itself for ever.
    """
    table = _table_written_out(target)
    if table is None:
        return []
    try:
        asset = iceberg_asset(table, catalog=catalog)
    except ValueError:
        return []  # a table may have names that no uri can hold
    started_by = getattr(getattr(dag, "timetable", None), "asset_condition", None)
    return [] if started_by is not None and _names(started_by, asset) else [asset]


def _table_written_out(target: object) -> str | None:
    """The table of a target: as a builder makes it, as a dict, or its name alone."""
    table = target.get("table") if isinstance(target, dict) else getattr(target, "table", target)
    if not isinstance(table, str) or "{" in table or table.endswith((".yaml", ".yml")):
        return None
    return table


def _names(condition: object, asset: Asset) -> bool:
    """Whether an asset stands in a DAG's schedule: by uri, by name, or as a part of it."""
    if getattr(condition, "uri", None) == asset.uri or getattr(condition, "name", None) == asset.name:
        return True
    return any(_names(one, asset) for one in getattr(condition, "objects", ()))


def event_extra(receipt: Receipt) -> dict[str, Any]:
    """What the event of a landing says. 64-bit ids are texts, because a browser loses digits of numbers."""
    return {
        "job_id": receipt.job_id,
        "table": receipt.table,
        "snapshot_id": None if receipt.snapshot_id is None else str(receipt.snapshot_id),
        "files": receipt.files,
        "rows_landed": receipt.rows_landed,
        "rows_rejected": receipt.rows_rejected,
        "rows_replaced": receipt.rows_replaced,
    }
