"""Iceberg tables as Airflow assets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import Asset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SCHEME = "iceberg://"


def iceberg_asset(table: str, *, catalog: str = "moulin") -> Asset:
    """The asset of a table, for `outlets=[...]` of a task and `schedule=[...]` of the DAGs that read it.

    `table` is `namespace.table`; `catalog` the name of the worker's catalog. The events of a
    `MoulinLandOperator` carry the snapshot and the rows.
    """
    return Asset(name=f"{catalog}.{table}", uri=asset_uri(table, catalog))


def asset_uri(table: str, catalog: str = "moulin") -> str:
    """`iceberg://catalog/namespace/table`."""
    return f"{_SCHEME}{catalog}/{table.replace('.', '/')}"


def assets_of(table: str, outlets: Iterable[object]) -> Iterator[Asset]:
    """Those of a task's outlets that are this table, in whatever catalog."""
    path = table.replace(".", "/")
    for outlet in outlets:
        if isinstance(outlet, Asset) and outlet.uri.startswith(_SCHEME):
            _catalog, _, rest = outlet.uri.removeprefix(_SCHEME).partition("/")
            if rest.rstrip("/") == path:
                yield outlet
