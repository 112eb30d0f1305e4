"""What a task's log says about rows and files that were left out."""

from __future__ import annotations

from moulin.fault import Place
from moulin.job import Reject, SkippedFile

from moulin_provider.reject_log import left_out, skipped_files


def test_a_job_without_bad_rows_says_nothing(make_receipt):
    assert left_out(make_receipt(), "skip") == []
    assert skipped_files(make_receipt()) == []


def test_rejected_rows_are_a_table_with_place_code_and_reason(make_receipt):
    rejects = (
        Reject(Place("s3://raw/a.csv", 3, 4, 88, "delay"), "type.long", "`late` is no long"),
        Reject(Place("s3://raw/a.csv", 9, 11, 1204), "csv.field_count", "row has 7 fields, expected 9"),
    )
    said = left_out(make_receipt(rejects=rejects, rows_rejected=2), "skip")
    assert said[0] == "2 rows did not fit and were left out:"
    assert said[1].split() == ["file", "line", "record", "byte", "column", "code", "reason"]
    assert said[3].split() == ["s3://raw/a.csv", "4", "3", "88", "delay", "type.long", "`late`", "is", "no", "long"]
    assert said[4].endswith("csv.field_count  row has 7 fields, expected 9")
    assert len(said) == 5


def test_the_log_says_how_to_see_the_others(make_receipt, make_rejects):
    receipt = make_receipt(rejects=make_rejects(10), rows_rejected=12_000)
    said = left_out(receipt, "skip")
    assert said[0] == "12,000 rows did not fit and were left out; the first 10 are:"
    assert said[-1].endswith("on_bad_row='quarantine' keeps every one")
    kept = left_out(receipt, "quarantine")[-1]
    assert "`moulin get job-00000000000000000000 --rejects`" in kept
    assert "`client.rejects('job-00000000000000000000')`" in kept


def test_a_long_uri_keeps_its_end(make_receipt, make_rejects):
    said = left_out(make_receipt(rejects=make_rejects(1, 500), rows_rejected=1), "skip")[-1]
    assert "…" in said
    assert "x.csv" in said


def test_files_that_were_left_out_are_named_with_their_reason(make_receipt):
    files = (SkippedFile("s3://raw/b.csv.gz", "the gzip ends in the middle"),)
    assert skipped_files(make_receipt(skipped_files=files, files_skipped=1)) == [
        "1 files were left out:",
        "file               reason",
        "-----------------  ---------------------------",
        "s3://raw/b.csv.gz  the gzip ends in the middle",
    ]
    assert "2 files were left out; the first 1 are:" in skipped_files(
        make_receipt(skipped_files=files, files_skipped=2)
    )
