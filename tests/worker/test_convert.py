"""Files become other files: exact, with every row accounted for, without a table or a job store."""

from __future__ import annotations

import base64
import csv
import json
import subprocess
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker_process import run_moulin

VALUES = pa.table(
    {
        "text": pa.array(["plain", "a,b", 'say "hi"', "two\nlines", "", None]),
        "number": pa.array([1, -(2**63), 2**63 - 1, None, 0, 5], pa.int64()),
        "price": pa.array([Decimal("1.50"), Decimal("-99999999999999999999.99"), None, Decimal("0.01"), Decimal(0), Decimal(1)], pa.decimal128(22, 2)),
        "ratio": pa.array([0.1 + 0.2, 1e300, -0.5, None, 5e-324, 1.0]),
        "day": pa.array([date(2024, 2, 29), None, date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1), date(2000, 1, 1)]),
        "at": pa.array([datetime(2024, 2, 29, 12, 30, 0, 1, UTC), None] + [datetime(1970, 1, 1, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")),
        "yes": pa.array([True, False, None, True, False, True]),
    }
)  # fmt: skip

SPEC = """
format: csv
columns:
  - {name: number, type: long}
  - {name: price, type: "decimal(22,2)"}
  - {name: ratio, type: double}
  - {name: day, type: date}
  - {name: at, type: timestamptz}
  - {name: yes, type: boolean}
"""


def _ok(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = run_moulin(folder, "convert", *arguments)
    assert done.returncode == 0, done.stderr
    return done


def test_every_value_comes_back_from_csv(tmp_path: Path) -> None:
    pq.write_table(VALUES, tmp_path / "a.parquet")
    done = _ok(tmp_path, "a.parquet", "-o", "a.csv")
    assert done.stderr.startswith("rows read 6, written 6, rejected 0, filtered 0;")
    text = (tmp_path / "a.csv").read_text()
    assert text.splitlines()[1] == "plain,1,1.50,0.30000000000000004,2024-02-29,2024-02-29T12:30:00.000001Z,true"
    rows = list(csv.reader(text.splitlines(keepends=True)))
    assert [row[0] for row in rows[1:]] == ["plain", "a,b", 'say "hi"', "two\nlines", "", ""]

    (tmp_path / "spec.yaml").write_text(SPEC)
    _ok(tmp_path, "a.csv", "--spec", "spec.yaml", "-o", "b.parquet")
    back = pq.read_table(tmp_path / "b.parquet")
    # A csv text column has no null of its own.
    expected = VALUES.set_column(0, "text", pa.array([text or "" for text in VALUES["text"].to_pylist()]))
    assert back.to_pydict() == expected.to_pydict()


def test_every_value_comes_back_from_ndjson(tmp_path: Path) -> None:
    nested = VALUES.append_column("tags", pa.array([["x", None], [], None, ["y"], [], []], pa.list_(pa.string())))
    nested = nested.append_column(
        "who", pa.array([{"id": 1, "name": "ü\u0001"}, None, {"id": None, "name": '"'}] + [{"id": 2, "name": ""}] * 3)
    )
    pq.write_table(nested, tmp_path / "a.parquet")
    done = _ok(tmp_path, "a.parquet", "--to", "ndjson")
    lines = [json.loads(line, parse_float=Decimal) for line in done.stdout.splitlines()]
    assert [line["price"] for line in lines] == nested["price"].to_pylist()
    assert [line["tags"] for line in lines] == nested["tags"].to_pylist()
    assert [line["who"] for line in lines] == nested["who"].to_pylist()
    assert list(lines[0]) == nested.column_names

    (tmp_path / "a.ndjson").write_text(done.stdout)
    (tmp_path / "spec.yaml").write_text(SPEC.replace("csv", "ndjson"))
    _ok(tmp_path, "a.ndjson", "--spec", "spec.yaml", "-o", "b.parquet")
    assert pq.read_table(tmp_path / "b.parquet").to_pydict() == nested.to_pydict()


def test_a_job_is_applied_and_its_rejects_are_written(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"id,name\n1,a\nx\xff,b\n2,c\n3,d\n")
    job = "source: {uris: [nowhere.csv], format: csv, columns: [{name: id, type: long}]}\n"
    job += "transform: {sql: SELECT id * 10 AS ten FROM input WHERE name <> 'c'}\ntarget: {table: bronze.t}\n"
    (tmp_path / "job.yaml").write_text(job)
    done = _ok(tmp_path, "in.csv", "-s", "job.yaml", "--to", "csv", "--rejects", "bad.ndjson")
    assert done.stdout == "ten\n10\n30\n"
    assert done.stderr.startswith("rows read 4, written 2, rejected 1, filtered 1;")
    (reject,) = (json.loads(line) for line in (tmp_path / "bad.ndjson").read_text().splitlines())
    assert base64.b64decode(reject["raw"]) == b"x\xff,b"
    assert (reject["record"], reject["line"], reject["byte_offset"]) == (2, 3, 12)
    assert not (tmp_path / ".moulin").exists()


@pytest.mark.parametrize(("on_bad_row", "code", "rows"), [("skip", 0, "rejected 1"), ("fail", 1, "")])
def test_a_bad_row_ends_the_conversion_only_when_it_is_told_to(
    on_bad_row: str, code: int, rows: str, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n2\nx\n")
    (tmp_path / "s.yaml").write_text("{format: csv, columns: [{name: id, type: long}]}")
    done = run_moulin(tmp_path, "convert", "in.csv", "-s", "s.yaml", "-o", "out.csv", "--on-bad-row", on_bad_row)
    assert done.returncode == code
    assert rows in done.stderr
    assert (tmp_path / "out.csv").exists() == (code == 0)
    assert not list(tmp_path.glob("*.part"))
    if code:
        assert all(word in done.stderr for word in ("in.csv, line 4", "`x`", "what to do: "))


def test_rows_keep_the_order_of_the_input(tmp_path: Path) -> None:
    for file in range(3):
        lines = (f"{file * 100_000 + n},{'x' * (n % 50)}\n" for n in range(100_000))
        (tmp_path / f"{file}.csv").write_text("id,text\n" + "".join(lines))
    _ok(tmp_path, "?.csv", "-o", "all.parquet")
    assert pq.read_table(tmp_path / "all.parquet")["id"].to_pylist() == list(range(300_000))


def test_what_is_wrong_is_said_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    (tmp_path / "a.csv").write_text("x\n1\n")
    for arguments, word in (
        (("a.txt", "--to", "csv"), "a.txt"),
        (("absent.csv", "--to", "csv"), "absent.csv"),
        (("a.csv", "-o", "out.xlsx"), "out.xlsx"),
        (("a.txt",), "--to"),
    ):
        done = run_moulin(tmp_path, "convert", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert word in done.stderr


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{format: cvs}", "no format `cvs`; there are csv, ndjson, json, parquet"),
        ("{format: {csv: {encoding: ascii}}}", "csv.encoding: unknown variant `ascii`, expected one of `auto`"),
        ("{format: {csv: {skip_lines: two}}}", 'csv.skip_lines: invalid type: string "two"'),
        ("{format: {csv: {quote: ''}}}", "csv.quote: quote is empty; `quoting: false` reads files without quotes"),
        ("{format: {csv: {delimeter: ','}}}", "csv: unknown field `delimeter`"),
    ],
)
def test_an_option_that_is_wrong_is_quoted_back(spec: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "s.yaml").write_text(spec)
    done = run_moulin(tmp_path, "convert", "a.csv", "-s", "s.yaml", "--to", "csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_dialect_is_found_in_the_file_or_written_as_other_tools_write_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('id;name\r\n1;"M\xfcller; ""A"""\r\n'.encode("latin1"))
    for dialect in (
        "dialect: auto",
        "delimiter: ;, quote: '\"', escape: '\"', encoding: latin1, line_ending: crlf",
        "delimiter: ;, escape: '', encoding: windows_1252, header: false, skip_lines: 1, column_names: [id, name]",
    ):
        (tmp_path / "s.yaml").write_text(f"{{format: {{csv: {{{dialect}}}}}}}")
        done = _ok(tmp_path, "a.csv", "-s", "s.yaml", "--to", "ndjson")
        assert json.loads(done.stdout) == {"id": 1, "name": 'Müller; "A"'}


def test_a_reject_stands_in_the_file_where_it_says_whatever_its_encoding(tmp_path: Path) -> None:
    file = "n,t\n1,ä\nbad,ö€\n2,\n".encode("utf-16")
    (tmp_path / "a.csv").write_bytes(file)
    (tmp_path / "s.yaml").write_text("{format: csv, columns: [{name: n, type: long}]}")
    done = _ok(tmp_path, "a.csv", "-s", "s.yaml", "--to", "csv", "--rejects", "bad.ndjson")
    assert done.stdout == 'n,t\n1,ä\n2,""\n'
    (reject,) = (json.loads(line) for line in (tmp_path / "bad.ndjson").read_text().splitlines())
    at, length = reject["byte_offset"], reject["length_bytes"]
    raw = base64.b64decode(reject["raw"])
    assert file[at : at + length] == raw == "bad,ö€".encode("utf-16-le")


def test_too_many_rejects_end_the_conversion_and_those_so_far_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n1\n" + "x\n" * 5)
    (tmp_path / "s.yaml").write_text(
        "{source: {uris: [a.csv], format: csv, columns: [{name: n, type: long}]}, max_bad_rows: 2}"
    )
    done = run_moulin(tmp_path, "convert", "-s", "s.yaml", "-o", "out.csv", "--rejects", "bad.ndjson")
    assert done.returncode == 1
    assert "3 of 4 rows do not fit, more than max_bad_rows = 2" in done.stderr
    assert not (tmp_path / "out.csv").exists()
    assert [json.loads(line)["line"] for line in (tmp_path / "bad.ndjson").read_text().splitlines()] == [3, 4, 5]


def test_a_page_with_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    whole = pa.table({"n": [1, 2, 3], "flag": pa.array([1000, 2000, 3000], pa.int64())})
    pq.write_table(whole, tmp_path / "a.parquet", write_page_checksum=True, use_dictionary=False, compression="none")
    _ok(tmp_path, "a.parquet", "-o", "a.csv")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[data.index((2000).to_bytes(8, "little"))] ^= 1
    (tmp_path / "b.parquet").write_bytes(data)
    done = run_moulin(tmp_path, "convert", "b.parquet", "-o", "b.csv")
    assert done.returncode == 1
    assert "b.parquet is damaged: row group 0, column `flag`: the page at byte " in done.stderr
    assert not (tmp_path / "b.csv").exists()
