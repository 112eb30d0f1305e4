"""What a sample holds, as a value and as a table."""

from __future__ import annotations

from moulin import csv
from moulin.source import Column
from moulin.text_table import text_table
from moulin.v1 import job_service_pb2 as pb
from moulin.wire import decode_inferred


def sampled() -> pb.InferResponse:
    message = pb.InferResponse(rows=10_000, rows_bad=2)
    message.files.add(uri="s3://raw/a.csv", size_bytes=5, etag="x")
    message.columns.add(
        name="price", type="decimal(9,2)", origin="declared", values=10_000, nulls=7, min="0.50", max="99.00"
    )
    message.columns.add(
        name="id", type="string", origin="inferred", values=10_000, max="z\n" * 50, reason="`007` is no whole number"
    )
    message.columns.add(name="_file", type="string", origin="provenance", values=10_000)
    message.options.add(name="csv.delimiter", value=";", origin="sniffed", reason="in every line")
    message.options.add(name="csv.quote", value='"', origin="default")
    return message


def test_a_sample_is_a_table_that_says_why() -> None:
    shown = str(decode_inferred(sampled())).splitlines()
    assert shown[0] == "1 file, 10,000 records sampled, 2 of them bad"
    assert shown[1].split() == ["column", "type", "origin", "values", "nulls", "min", "max", "why"]
    assert shown[3].split() == ["price", "decimal(9,2)", "declared", "10,000", "7", "0.50", "99.00"]
    assert shown[4].endswith("…  `007` is no whole number")
    assert shown[-1] == "csv.delimiter = ; (in every line)", "what was chosen is told, what is the default is not"
    assert len(shown) == 7
    assert str(decode_inferred(sampled())) == repr(decode_inferred(sampled()))


def test_what_was_inferred_can_be_declared() -> None:
    found = decode_inferred(sampled())
    assert csv("a.csv", columns=found.declared()).columns == (Column("price", "decimal(9,2)"), Column("id", "string"))


def test_a_cell_of_a_table_stays_on_its_line() -> None:
    assert text_table(("a", "b"), [("x\ty", "two\nlines")]) == "a     b\n----  ----------\nx\\ty  two\\nlines"
