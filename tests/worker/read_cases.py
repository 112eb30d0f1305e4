"""Tables with everything that is landed, each with the rows that must be read from it: known from the input alone."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import FixedType, LongType, NestedField, StringType, UUIDType

import every_type
import moulin
from landed_table import catalog

Rows = list[dict[str, Any]]

# Each list is the partition spec of a table.
PARTITIONS = {
    "identity": ["boolean", "date", "string"],
    "identity_of_others": ["int", "time", "decimal", "binary", "void(n)"],
    "identity_of_moments": ["timestamp", "timestamptz"],
    "bucket": [f"bucket(4, {name})" for name in every_type.SCHEMA.names if name not in ("boolean", "float", "double", "n")],
    "truncate": [
        "truncate(1000000, int)", "truncate(2000000000, long)", "truncate(2000000000, decimal)",
        "truncate(1, string)", "truncate(1, binary)",
    ],
    "periods": ["year(timestamp)", "month(timestamptz)", "day(date)"],
    "other_periods": ["hour(timestamp)", "day(timestamptz)", "month(date)"],
    "more_periods": ["day(timestamp)", "hour(timestamptz)", "year(date)"],
    "yet_more_periods": ["month(timestamp)", "year(timestamptz)"],
}  # fmt: skip
ONE_DAY = dt.date(1969, 12, 29)


@dataclass(frozen=True)
class Case:
    """A table and what it holds."""

    table: str
    rows: Rows
    equal: dict[str, str] = field(default_factory=dict)
    """Days that columns have to equal: what is read is to be pruned by partition."""


class Landings:
    """Lands the tables of a worker with the defaults."""

    def __init__(self, client: moulin.Client, folder: Path):
        self._client = client
        self._folder = folder
        self._files = 0

    def all(self) -> dict[str, Case]:
        """Makes every table; the cases by name."""
        makers: list[Callable[[], dict[str, Case]]] = [
            self._types, self._bytes, self._partitions, self._nested, self._evolved, self._optional, self._redone, self._odd_names,
        ]  # fmt: skip
        return {name: case for make in makers for name, case in make().items()}

    def _file(self, name: str) -> Path:
        self._files += 1
        return self._folder / f"{self._files}-{name}"

    def _land(self, source: moulin.Source, table: str, key: moulin.JobKey | None = None, generation: int = 0, **target: Any) -> None:  # fmt: skip
        spec = moulin.JobSpec(source=source, target=moulin.iceberg(table, **target))
        self._client.submit(spec, key, generation=generation).wait(60)

    def _parquet(self, rows: pa.Table) -> moulin.Source:
        file = self._file("rows.parquet")
        pq.write_table(rows, file)
        return moulin.parquet(f"file://{file}")

    def _ndjson(self, rows: Rows, **columns: str) -> moulin.Source:
        file = self._file("rows.ndjson")
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return moulin.ndjson(f"file://{file}", columns=columns)

    def _types(self) -> dict[str, Case]:
        self._land(self._parquet(every_type.truth()), "read.types")
        return {"types": Case("read.types", every_type.truth().to_pylist())}

    def _bytes(self) -> dict[str, Case]:
        """Types that only a table can have that somebody else made."""
        tables = catalog(self._folder.parent)
        tables.create_namespace_if_not_exists("read")
        columns = (
            NestedField(1, "id", LongType()),
            NestedField(2, "uuid", UUIDType()),
            NestedField(3, "fixed", FixedType(4)),
        )
        made = tables.create_table("read.bytes", Schema(*columns))
        with made.update_spec() as update:
            update.add_field("uuid", BucketTransform(4))
        with tables.create_table("read.by_fixed", Schema(*columns)).update_spec() as update:
            update.add_field("fixed", IdentityTransform())
        rows = [{"id": n, "uuid": bytes(range(n, n + 16)), "fixed": bytes([n, 0, 255, 1])} for n in range(4)]
        rows.append({"id": 4, "uuid": None, "fixed": None})
        schema = pa.schema({"id": pa.int64(), "uuid": pa.binary(16), "fixed": pa.binary(4)})
        for name in ("read.bytes", "read.by_fixed"):
            self._land(self._parquet(pa.Table.from_pylist(rows, schema=schema)), name)
        return {"uuid and fixed": Case("read.bytes", rows), "partitions by fixed": Case("read.by_fixed", rows)}

    def _partitions(self) -> dict[str, Case]:
        # On both sides of 1970, in more days than one, nulls in all columns.
        truth = every_type.truth().slice(70, 40)
        cases = {}
        for name, fields in PARTITIONS.items():
            self._land(self._parquet(truth), f"read.{name}", partition_by=fields)
            cases[f"partitions: {name}"] = Case(f"read.{name}", truth.to_pylist())
        day = [row for row in truth.to_pylist() if row["date"] == truth["date"][5].as_py()]
        assert 0 < len(day) < truth.num_rows
        equal = {"date": truth["date"][5].as_py().isoformat()}
        for name in ("identity", "periods", "other_periods", "more_periods"):
            cases[f"one day of {name}"] = Case(f"read.{name}", day, equal)
        return cases

    def _nested(self) -> dict[str, Case]:
        schema = pa.schema(
            {
                "id": pa.int64(),
                "at": pa.struct({"day": pa.date32(), "where": pa.struct({"x": pa.float64(), "name": pa.string()})}),
                "tags": pa.list_(pa.string()),
                "points": pa.list_(pa.struct({"a": pa.int32(), "t": pa.timestamp("us", "UTC")})),
                "counts": pa.map_(pa.string(), pa.int64()),
                "deep": pa.list_(pa.list_(pa.decimal128(9, 2))),
            }
        )
        moment = dt.datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=dt.UTC)
        rows: Rows = [
            {
                "id": 1,
                "at": {"day": dt.date(2024, 1, 1), "where": {"x": 0.5, "name": "north"}},
                "tags": ["a", None, ""],
                "points": [{"a": 1, "t": moment}, {"a": None, "t": None}, None],
                "counts": [("b", 2), ("a", None)],
                "deep": [[Decimal("1.50"), None], [], None],
            },
            {"id": 2, "at": {"day": None, "where": {"x": None, "name": None}}, "tags": [], "points": [], "counts": [], "deep": []},
            {"id": 3, "at": None, "tags": None, "points": None, "counts": None, "deep": None},
            {"id": 4, "at": {"day": dt.date(1969, 12, 31), "where": None}, "tags": ["z"], "points": None, "counts": None, "deep": None},
        ]  # fmt: skip
        table = pa.Table.from_pylist(rows, schema=schema)
        self._land(self._parquet(table), "read.nested")
        self._land(self._parquet(table), "read.by_nested", partition_by=["at.where.name", "month(at.day)"], sort_by=["at.where.x desc"])  # fmt: skip
        return {"nested": Case("read.nested", rows), "partitions by nested fields": Case("read.by_nested", rows)}

    def _evolved(self) -> dict[str, Case]:
        old = {"id": 1, "price": 0.5, "amount": "1.25", "at": {"x": 7}, "tags": [{"a": 1}]}
        types = {"id": "int", "price": "float", "amount": "decimal(9,2)", "at": "struct<x: int>", "tags": "list<struct<a: int>>"}  # fmt: skip
        self._land(self._ndjson([old], **types), "read.evolved", partition_by=["id"])
        new = {"id": 1 << 40, "price": 0.1, "amount": "12345678901.25", "at": {"x": 1 << 40, "y": "north"},
               "tags": [{"a": 2, "b": True}], "note": "new"}  # fmt: skip
        wider = {"id": "long", "price": "double", "amount": "decimal(20,2)", "at": "struct<x: long, y: string>",
                 "tags": "list<struct<a: long, b: boolean>>", "note": "string"}  # fmt: skip
        self._land(self._ndjson([new], **wider), "read.evolved")
        expected = [
            {"id": 1, "price": 0.5, "amount": Decimal("1.25"), "at": {"x": 7, "y": None}, "tags": [{"a": 1, "b": None}], "note": None},
            {**new, "amount": Decimal("12345678901.25")},
        ]  # fmt: skip
        return {"evolved": Case("read.evolved", expected)}

    def _optional(self) -> dict[str, Case]:
        """A column that PyIceberg made as a required one, and that later rows lack."""
        tables = catalog(self._folder.parent)
        tables.create_namespace_if_not_exists("read")
        columns = (NestedField(1, "id", LongType(), required=True), NestedField(2, "name", StringType(), required=True))
        made = tables.create_table("read.optional", Schema(*columns))
        rows = [{"id": 1, "name": "by PyIceberg"}]
        fields = [pa.field("id", pa.int64(), nullable=False), pa.field("name", pa.string(), nullable=False)]
        made.append(pa.Table.from_pylist(rows, schema=pa.schema(fields)))
        self._land(self._ndjson([{"id": 2}], id="long"), "read.optional")
        return {"made optional": Case("read.optional", [*rows, {"id": 2, "name": None}])}

    def _redone(self) -> dict[str, Case]:
        def rows(ids: range) -> Rows:
            return [{"id": n, "part": n % 3} for n in ids]

        columns = {"id": "long", "part": "int"}
        key, other = (
            moulin.JobKey(dag_id="d", run_id="r", task_id="a"),
            moulin.JobKey(dag_id="d", run_id="r", task_id="b"),
        )
        self._land(self._ndjson(rows(range(100)), **columns), "read.redone", key, partition_by=["part"])
        self._land(self._ndjson(rows(range(1000, 1010)), **columns), "read.redone", other)
        self._land(self._ndjson(rows(range(50, 70)), **columns), "read.redone", key, 1)
        return {"replaced by a redo": Case("read.redone", [*rows(range(50, 70)), *rows(range(1000, 1010))])}

    def _odd_names(self) -> dict[str, Case]:
        rows = [{"tail no": f"N{n}", "größe": n, "a.b": n * 2} for n in range(6)]
        self._land(
            self._parquet(pa.Table.from_pylist(rows)), "read.odd", partition_by=["tail no", "bucket(2, größe)", "a.b"]
        )
        return {"odd names": Case("read.odd", rows)}
