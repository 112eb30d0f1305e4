"""The receipt as an XCom."""

from __future__ import annotations

import json

from moulin.job import FileCounts

from moulin_provider.xcom_receipt import xcom_receipt


def size(value) -> int:
    return len(json.dumps(value).encode())


def test_a_snapshot_id_survives_javascript(make_receipt):
    assert xcom_receipt(make_receipt(snapshot_id=2**63 - 1))["snapshot_id"] == "9223372036854775807"
    assert xcom_receipt(make_receipt(snapshot_id=None))["snapshot_id"] is None


def test_every_row_is_accounted_for(make_receipt):
    found = xcom_receipt(make_receipt())
    assert found["rows_read"] == found["rows_landed"] + found["rows_rejected"] + found["rows_filtered"]


def test_short_rejects_are_all_named(make_receipt, make_rejects):
    found = xcom_receipt(make_receipt(rejects=make_rejects(3, 5), rows_rejected=3))
    assert [reject["code"] for reject in found["rejects"]] == ["type.int"] * 3
    assert "line 2" in found["rejects"][0]["place"]


def test_the_worst_receipt_is_under_two_kilobytes(make_receipt, make_rejects):
    found = xcom_receipt(
        make_receipt(
            table=f"{'n' * 2000}.t",
            metadata_location="s3://" + "é" * 3000,
            token="\\" * 4000,
            rejects=make_rejects(10, 4000),
            rows_rejected=2**63,
            file_counts=FileCounts(
                partitions=2**40, threads=2**40, target_bytes=2**63, full=2**63, made_way=2**63, spilled_bytes=2**63
            ),
        )
    )
    assert size(found) < 2048
    assert found["rows_rejected"] == 2**63
    assert found["file_counts"]["full"] == 2**63
    assert found["metadata_location"].endswith("é")
