from __future__ import annotations

from pathlib import Path

import pytest
from benches import __main__ as bench
from benches import floor, lineitem, measure
from benches.peers import destination, duckdb_pyiceberg, pandas_pyiceberg, polars_pyiceberg
from benches.verify import facts

ROWS = """l_orderkey,l_partkey,l_suppkey,l_linenumber,l_quantity,l_extendedprice,l_discount,l_tax,l_returnflag,l_linestatus,l_shipdate,l_commitdate,l_receiptdate,l_shipinstruct,l_shipmode,l_comment
1,155190,7706,1,17,21168.23,0.04,0.02,N,O,1996-03-13,1996-02-12,1996-03-22,DELIVER IN PERSON,TRUCK,"egular courts, above"
9007199254740993,67310,7311,2,36,9999999999999.99,0.09,0.06,N,O,1996-04-12,1996-02-28,1996-04-20,TAKE BACK RETURN,MAIL,ly
"""


@pytest.mark.parametrize("peer", [polars_pyiceberg, duckdb_pyiceberg, pandas_pyiceberg], ids=bench.PEERS[:3])
def test_every_peer_lands_the_same_exact_rows(peer: object, tmp_path: Path) -> None:
    file = tmp_path / "lineitem.csv"
    file.write_text(ROWS)
    peer.land(file, "csv", tmp_path / "lake")  # type: ignore[attr-defined]
    expect_the_rows(tmp_path / "lake")


def test_the_peer_with_an_environment_of_its_own_lands_them_too(tmp_path: Path) -> None:
    file = tmp_path / "lineitem.csv"
    file.write_text(ROWS)
    found = measure.peer("dlt", file, "csv", tmp_path / "lake")
    assert found.cpu_s > 0
    assert "dlt" in found.extra
    expect_the_rows(tmp_path / "lake")


def test_the_floor_writes_the_same_rows_again(tmp_path: Path) -> None:
    file = tmp_path / "lineitem.csv"
    file.write_text(ROWS)
    polars_pyiceberg.land(file, "csv", tmp_path / "lake")
    kept = floor.keep(tmp_path / "lake", tmp_path / "kept")
    found = floor.encode("pyarrow's writer", Path("not run"), kept, tmp_path)
    assert (found["rows"], found["files"]) == (2, 1)
    assert found["bytes"] > 0


def expect_the_rows(lake: Path) -> None:
    """Checks what was landed of `ROWS`."""
    found = facts(lake)
    assert found["rows"] == 2
    assert found["sum(l_extendedprice)"] == "10000000021168.22"
    assert found["sum(l_orderkey)"] == "9007199254740994"
    assert (found["min(l_shipdate)"], found["max(l_shipdate)"]) == ("1996-03-13", "1996-04-12")
    assert found["types"] == {name: str(destination.ICEBERG[kind]) for name, kind in lineitem.COLUMNS.items()}


def test_tools_that_landed_different_rows_end_the_comparison() -> None:
    seen = {"moulin": {"facts": {"rows": 3}}, "polars": {"facts": {"rows": 4}}}
    with pytest.raises(SystemExit, match="rows: moulin 3, polars 4"):
        bench.expect_equal(seen)
    bench.expect_equal({"moulin": seen["moulin"], "polars": seen["moulin"]})
