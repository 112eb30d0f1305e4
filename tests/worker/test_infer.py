"""What a sample of files holds is said column by column, and can be pasted into a job."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import moulin
from worker_process import run_moulin

CSV = "id,day,price,code,flag,note\n"
CSV += "".join(f"{n},2024-01-{n % 28 + 1:02},{n}.25,{n:03},{'true' if n % 2 else 'false'},\n" for n in range(1, 21))
CSV += "NA,NA,NA,NA,NA,x\n"
SPEC = "{format: {csv: {null_values: [NA]}}, columns: [{name: price, type: 'decimal(9,2)'}]}"


def _files(folder: Path) -> None:
    (folder / "a.csv").write_text(CSV)
    (folder / "spec.yaml").write_text(SPEC)


def test_each_column_says_what_was_seen_and_why_it_has_its_type(tmp_path: Path) -> None:
    _files(tmp_path)
    done = run_moulin(tmp_path, "infer", "a.csv", "--spec", "spec.yaml", "--output", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["rows"], report["rows_bad"]) == (21, 0)
    seen = {column["name"]: column for column in report["columns"]}
    assert {name: column["type"] for name, column in seen.items()} == {
        "id": "long", "day": "date", "price": "decimal(9,2)", "code": "string", "flag": "boolean", "note": "string",
    }  # fmt: skip
    assert (seen["id"]["values"], seen["id"]["nulls"], seen["id"]["min"], seen["id"]["max"]) == (21, 1, "1", "20")
    assert seen["id"]["reason"] == "all 20 texts are whole numbers; 1 null (`NA`)"
    assert (seen["price"]["origin"], seen["price"]["min"], seen["price"]["max"]) == ("declared", "1.25", "20.25")
    assert "leading zeros" in seen["code"]["reason"]
    options = {option["name"]: option for option in report["options"]}
    assert (options["csv.null_values"]["value"], options["csv.null_values"]["origin"]) == ('["NA"]', "declared")
    assert options["inference.sample_rows"]["origin"] == "default"


def test_the_sample_is_as_large_as_it_is_told_to_be(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n" + "1\n" * 100 + "x\n")
    (tmp_path / "s.yaml").write_text("{format: csv, inference: {sample_rows: 50}}")
    small = json.loads(run_moulin(tmp_path, "infer", "a.csv", "-s", "s.yaml", "-o", "json").stdout)
    assert (small["rows"], small["columns"][0]["type"]) == (50, "long")
    whole = json.loads(run_moulin(tmp_path, "infer", "a.csv", "-o", "json").stdout)
    assert (whole["rows"], whole["columns"][0]["type"]) == (101, "string")
    assert whole["columns"][0]["reason"] == "the first 100 texts are whole numbers, but `x` is not"


def test_bad_rows_of_the_sample_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n4,5\n")
    report = json.loads(run_moulin(tmp_path, "infer", "a.csv", "-o", "json").stdout)
    assert (report["rows"], report["rows_bad"], report["columns"][0]["values"]) == (3, 1, 2)


def test_the_yaml_is_a_source_that_reads_the_same(tmp_path: Path) -> None:
    _files(tmp_path)
    done = run_moulin(tmp_path, "infer", "a.csv", "--spec", "spec.yaml", "--output", "yaml")
    assert done.returncode == 0, done.stderr
    (tmp_path / "pasted.yaml").write_text(done.stdout)
    again = run_moulin(tmp_path, "infer", "--spec", "pasted.yaml", "--output", "json")
    assert again.returncode == 0, again.stderr
    columns = json.loads(again.stdout)["columns"]
    assert {column["origin"] for column in columns} == {"declared"}
    assert [column["type"] for column in columns] == ["long", "date", "decimal(9,2)", "string", "boolean", "string"]


def test_a_parquet_file_says_its_types_itself(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": pa.array([3, None, 1]), "l": pa.array([[1], [], None])}), tmp_path / "a.parquet")
    report = json.loads(run_moulin(tmp_path, "infer", "a.parquet", "-o", "json").stdout)
    number, nested = report["columns"]
    assert (number["type"], number["origin"], number["nulls"], number["min"], number["max"]) == (
        "long",
        "file",
        1,
        "1",
        "3",
    )
    assert (nested["type"], nested["values"]) == ("list<long>", 3)


def test_a_worker_infers_what_it_sees(client: moulin.Client, tmp_path: Path) -> None:
    _files(tmp_path)
    found = client.infer(moulin.csv(f"file://{tmp_path}/a.csv", null_values=["NA"]))
    assert [column.type for column in found.columns][:2] == ["long", "date"]
    done = run_moulin(tmp_path, "infer", tmp_path / "a.csv", "--address", client.connection.target)
    assert done.returncode == 0, done.stderr
    assert "is no number, date, timestamp, true or false" in done.stdout  # nobody told it that NA is null
