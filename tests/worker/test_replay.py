"""Rejects are read again with a corrected spec: each lands once, is marked, and stays explainable, whatever crashes."""

from __future__ import annotations

import contextlib
import json
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import catalogs
import moulin
from landed_table import LandedTable
from local_stack.postgres import LocalPostgres
from test_crashes import COMMITTED_BY
from worker_process import NewWorker, WorkerProcess, run_moulin, until

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")
REPLAY = moulin.JobKey(dag_id="dag", run_id="run", task_id="replay")
TABLE = "bronze.numbers"
HEADER = "id,part,note\n"
# Of each file: rows that fit, rows that fit once `n/a` is null, and one that never does.
GOOD, FIXABLE = 50, 3
COLUMNS = {"id": "long", "part": "long"}


def _file(folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    first = number * 1000
    lines = [f"{n},{n % 4},fits\n" for n in range(first, first + GOOD)]
    lines += [f"{n},n/a,later\n" for n in range(first + 500, first + 500 + FIXABLE)]
    lines += [f"{first + 900},0\n"]
    path = folder / f"{number}.csv"
    path.write_text(HEADER + "".join(lines))
    return path


def _land(folder: Path, number: int = 0, **changes: Any) -> moulin.JobSpec:
    source = moulin.csv(f"file://{_file(folder, number)}", columns=COLUMNS)
    return moulin.JobSpec(**{"source": source, "target": moulin.iceberg(TABLE), "on_bad_row": "quarantine", **changes})


def _replay(where: str = "", **source: Any) -> moulin.JobSpec:
    # The uris are not looked at.
    corrected = moulin.csv("file:///no/such.csv", **{"columns": COLUMNS, "null_values": ["n/a"], **source})
    return moulin.replay(TABLE, corrected, where=where)


def _done(
    client: moulin.Client, spec: moulin.JobSpec, key: moulin.JobKey = KEY, generation: int = 0, epoch: int = 1
) -> moulin.Receipt:
    receipt = client.submit(spec, key, generation=generation, epoch=epoch).wait(60).receipt
    assert receipt is not None
    assert receipt.rows_read == receipt.rows_landed + receipt.rows_rejected + (receipt.rows_filtered or 0)
    return receipt


def _key(number: int) -> moulin.JobKey:
    return replace(KEY, task_id=f"land{number}")


@pytest.fixture
def rejects(state: Path) -> LandedTable:
    return LandedTable(state, f"{TABLE}__rejects")


def _rows(rejects: LandedTable) -> list[dict[str, Any]]:
    rows = rejects.load().scan().to_arrow().to_pylist()
    return sorted(rows, key=lambda row: (row["uri"], row["record"], row["landed_at"]))


def _good(number: int = 0) -> list[int]:
    return list(range(number * 1000, number * 1000 + GOOD))


def _fixed(number: int = 0) -> list[int]:
    return list(range(number * 1000 + 500, number * 1000 + 500 + FIXABLE))


def _nothing_is_left_over(table: LandedTable, rejects: LandedTable) -> None:
    """Every data file is in its table, once, or was in an earlier snapshot of it."""
    for one in (table, rejects):
        loaded = one.load()
        ever = {
            Path(task.file.file_path.removeprefix("file://"))
            for snapshot in loaded.snapshots()
            for task in loaded.scan(snapshot_id=snapshot.snapshot_id).plan_files()
        }
        assert set(one.files_on_disk()) <= ever, set(one.files_on_disk()) - ever
        assert max(Counter(one.data_files()).values(), default=1) == 1


def _is_replayed_once(table: LandedTable, rejects: LandedTable, by: str, number: int = 0) -> None:
    assert table.ids() == sorted(_good(number) + _fixed(number))
    rows = _rows(rejects)
    marked, open_ = ([r for r in rows if (r["replayed_by"] is not None) is is_marked] for is_marked in (True, False))
    assert [r["replayed_by"] for r in marked] == [by] * (FIXABLE + 1)
    assert all(r["replayed_at"] is not None for r in marked)
    assert [r["record"] for r in marked] == list(range(GOOD + 1, GOOD + FIXABLE + 2))
    (again,) = open_
    (first,) = (r for r in marked if r["record"] == again["record"])
    place = ("uri", "record", "line", "byte_offset", "length_bytes", "raw", "code", "origin", "columns")
    assert {name: again[name] for name in place} == {name: first[name] for name in place}
    assert (again["token"], again["origin"]) == (by, first["token"])
    _nothing_is_left_over(table, rejects)


def test_what_fits_by_now_lands_and_what_does_not_is_a_reject_at_its_first_place(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    landed = _done(client, _land(tmp_path))
    assert (landed.rows_landed, landed.rows_rejected) == (GOOD, FIXABLE + 1)

    receipt = _done(client, _replay(), REPLAY)

    figures = (receipt.rows_read, receipt.rows_landed, receipt.rows_rejected, receipt.rows_filtered)
    assert figures == (FIXABLE + 1, FIXABLE, 1, 0)
    counts = receipt.replay
    assert counts is not None
    assert (counts.table, counts.matched, counts.replayed) == (f"{TABLE}__rejects", FIXABLE + 1, FIXABLE + 1)
    assert (counts.cut, counts.without_bytes, counts.other_format, counts.empty) == (0, 0, 0, 0)
    _is_replayed_once(table, rejects, receipt.token)
    (again,) = (r for r in _rows(rejects) if r["replayed_by"] is None)
    file = (tmp_path / "0.csv").read_bytes()
    assert file[again["byte_offset"] :][: again["length_bytes"]] == again["raw"] == b"900,0"
    assert (again["record"], again["line"]) == (GOOD + FIXABLE + 1, GOOD + FIXABLE + 2)
    summary = rejects.load().current_snapshot().summary
    assert summary["moulin.job"] == table.load().current_snapshot().summary["moulin.job"] == receipt.token
    assert "4 of 4 rejects replayed" in str(receipt)


def test_a_replay_of_nothing_is_a_success_that_says_so(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _land(tmp_path))
    before = (table.snapshot_id(), rejects.snapshot_id())
    receipt = _done(client, _replay("code = 'nothing.of_the_kind'"), REPLAY)
    assert receipt.replay is not None
    assert (receipt.replay.matched, receipt.rows_read, receipt.snapshot_id) == (0, 0, None)
    assert (table.snapshot_id(), rejects.snapshot_id()) == before
    with pytest.raises(moulin.NotFound, match=r"there is no table bronze\.other"):
        client.submit(moulin.replay("bronze.other", moulin.csv("x.csv")))


def test_a_condition_chooses_rejects_and_the_others_stay_open(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    for number in range(2):
        _done(client, _land(tmp_path, number), _key(number))
    where = "uri LIKE '%/1.csv' AND code LIKE 'type.%' AND landed_at > now() - interval '1 day'"
    receipt = _done(client, _replay(where), REPLAY)
    assert (receipt.rows_landed, receipt.rows_rejected) == (FIXABLE, 0)
    assert table.ids() == sorted(_good(0) + _good(1) + _fixed(1))
    marked = Counter(r["uri"].rsplit("/", 1)[1] for r in _rows(rejects) if r["replayed_by"] is not None)
    assert marked == {"1.csv": FIXABLE}
    # What is left is taken by a second one, and by no third.
    receipt = _done(client, _replay(), replace(REPLAY, task_id="second"))
    assert (receipt.rows_landed, receipt.rows_rejected) == (FIXABLE, 2)
    assert table.ids() == sorted(_good(0) + _good(1) + _fixed(0) + _fixed(1))
    receipt = _done(client, _replay("code LIKE 'type.%'"), replace(REPLAY, task_id="third"))
    assert receipt.replay is not None
    assert receipt.replay.matched == 0


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("cod = 'x'", "no column `cod`; did you mean `code`"),
        ("code", "not true or false"),
        ("code = 'x'; DELETE", "goes on after its end"),
        ("random() > 0.5", "another value each time"),
    ],
)
def test_a_wrong_condition_is_refused_at_the_submit(
    where: str, words: str, client: moulin.Client, tmp_path: Path
) -> None:
    _done(client, _land(tmp_path))
    with pytest.raises(moulin.MoulinError, match=words):
        client.submit(_replay(where), REPLAY)


def test_rejects_that_cannot_be_read_again_are_left_and_counted(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    path = tmp_path / "cut.csv"
    path.write_text(_file(tmp_path, 0).read_text() + "1," + "9" * 70_000 + "x,cut\n")
    _done(client, _land(tmp_path, source=moulin.csv(f"file://{path}", columns=COLUMNS)))
    pq.write_table(pa.table({"id": ["1", "x"], "part": [0, 0], "note": ["a", "b"]}), tmp_path / "a.parquet")
    parquet = moulin.parquet(f"file://{tmp_path}/a.parquet", columns={"id": "long"}, contract={"types": "discard_row"})
    _done(client, _land(tmp_path, source=parquet), _key(1))
    (tmp_path / "a.jsonl").write_text('{"id": "x", "part": 0, "note": "json"}\n')
    ndjson = moulin.ndjson(f"file://{tmp_path}/a.jsonl", columns={"id": "long", "part": "long", "note": "string"})
    _done(client, _land(tmp_path, source=ndjson), _key(2))
    before = {r["uri"]: r for r in _rows(rejects)}

    receipt = _done(client, _replay(), REPLAY)

    counts = receipt.replay
    assert counts is not None
    assert (counts.matched, counts.replayed) == (FIXABLE + 1 + 3, FIXABLE + 1)
    assert (counts.cut, counts.without_bytes, counts.other_format) == (1, 1, 1)
    left = [r for r in _rows(rejects) if r["replayed_by"] is None and r["token"] != receipt.token]
    assert {r["uri"].rsplit(".", 1)[1] for r in left} == {"csv", "parquet", "jsonl"}
    assert all(before[r["uri"]]["reason"] == r["reason"] for r in left if not r["uri"].endswith("csv"))
    assert set(_fixed()) <= set(table.ids())


def test_bytes_that_hold_several_records_by_now_or_none_are_accounted_for(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    path = tmp_path / "q.csv"
    path.write_text(HEADER + '1,1,a\n# made by hand\n2,2,"not closed\n3,3,b\n4,x,c\n5,5,d\n')
    _done(client, _land(tmp_path, source=moulin.csv(f"file://{path}", columns=COLUMNS)))
    codes = [r["code"] for r in _rows(rejects)]
    assert codes == ["csv.field_count", "csv.unclosed_quote"]

    receipt = _done(client, _replay(quoting=False, comment="#"), REPLAY)

    counts = receipt.replay
    assert counts is not None
    assert (counts.replayed, counts.empty) == (2, 1)
    assert (receipt.rows_read, receipt.rows_landed, receipt.rows_rejected) == (4, 3, 1)
    assert table.ids() == [1, 2, 3, 5]
    notes = table.load().scan(selected_fields=("id", "note")).to_arrow().to_pylist()
    assert {r["id"]: r["note"] for r in notes}[2] == '"not closed'
    (again,) = (r for r in _rows(rejects) if r["replayed_by"] is None)
    # The comment was the second record, the line before it the first.
    assert (again["raw"], again["line"], again["record"]) == (b"4,x,c", 6, 5)
    assert path.read_bytes()[again["byte_offset"] :][:5] == b"4,x,c"


def test_records_of_several_lines_encodings_and_added_columns_come_out_as_from_their_file(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    folder = tmp_path / "day=2026-01-31"
    folder.mkdir()
    latin, wide = folder / "latin.csv", folder / "wide.csv"
    latin.write_bytes("id,part,note\n1,0,caf\u00e9\n2,0,plain\n".encode("latin1"))
    wide.write_bytes('id,part,note\n7,n/a,"zwei\nZeilen \u20ac"\n'.encode("utf-16"))
    options: dict[str, Any] = {
        "columns": COLUMNS, "partition_columns": True, "provenance_columns": ["file", "row", "offset"],
    }  # fmt: skip
    for number, file in enumerate((latin, wide)):
        _done(client, _land(tmp_path, source=moulin.csv(f"file://{file}", **options)), _key(number))
    assert {row["encoding"]: row["raw"] for row in rejects.load().scan().to_arrow().to_pylist()} == {
        "utf8": "1,0,caf\u00e9".encode("latin1"), "utf16_le": '7,n/a,"zwei\nZeilen \u20ac"'.encode("utf-16-le"),
    }  # fmt: skip
    _done(client, _replay(**{**options, "encoding": "latin1"}), REPLAY)
    rows = {r["id"]: r for r in table.load().scan().to_arrow().to_pylist()}
    assert rows[1]["note"] == "caf\u00e9"
    assert rows[7]["note"] == "zwei\nZeilen \u20ac"
    assert (rows[1]["_file"], rows[1]["_row"], rows[1]["_offset"]) == (f"file://{latin}", 1, 13)
    assert (rows[7]["_row"], rows[7]["day"], rows[1]["day"]) == (1, rows[2]["day"], rows[2]["day"])


def test_json_rejects_are_read_again_each_by_itself(client: moulin.Client, table: LandedTable, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "part": 0}\n{"id": 2, "part": "n/a"}\n{"id": 3,\n')
    (tmp_path / "b.json").write_text('[{"id": 4, "part": 0}, {\n "id": 5,\n "part": "n/a"}, {"id": 6, "part": 1}]')
    columns = {"id": "long", "part": "long"}
    _done(client, _land(tmp_path, source=moulin.ndjson(f"file://{tmp_path}/a.jsonl", columns=columns)), _key(0))
    _done(client, _land(tmp_path, source=moulin.json(f"file://{tmp_path}/b.json", columns=columns)), _key(1))
    corrected = moulin.ndjson("x", columns=[
        moulin.Column("id", "long"), moulin.Column("part", "long", null_values=["n/a"]),
    ])  # fmt: skip
    receipt = _done(client, moulin.replay(TABLE, corrected), REPLAY)
    assert (receipt.rows_landed, receipt.rows_rejected) == (2, 1)
    assert table.ids() == [1, 2, 4, 5, 6]


def test_columns_that_nobody_declares_have_the_types_that_the_job_found(
    client: moulin.Client, table: LandedTable, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id,part,note\n" + "1,2,a\n" * 200 + "2,-,b\n")
    source = moulin.csv(f"file://{tmp_path}/a.csv", inference={"sample_rows": 100})
    _done(client, _land(tmp_path, source=source))
    (tmp_path / "a.csv").unlink()
    receipt = _done(client, moulin.replay(TABLE, replace(source, format=moulin.CsvFormat(null_values=("-",)))), REPLAY)
    assert receipt.rows_landed == 1
    assert str(table.load().schema().find_type("part")) == "long"


def test_a_transform_that_needs_several_rows_is_refused_with_what_to_do(client: moulin.Client, tmp_path: Path) -> None:
    _done(client, _land(tmp_path))
    spec = replace(_replay(), transform=moulin.sql("SELECT max(id) AS id, part, 'x' AS note FROM input GROUP BY part"))
    with pytest.raises(moulin.MoulinError, match="looks at several rows at once"):
        client.submit(spec, REPLAY)
    spec = replace(_replay(), transform=moulin.sql("SELECT id, part, upper(note) AS note FROM input WHERE id <> 501"))
    receipt = _done(client, spec, REPLAY)
    assert (receipt.rows_landed, receipt.rows_filtered, receipt.rows_rejected) == (FIXABLE - 1, 1, 1)


def test_with_fail_a_row_that_still_does_not_fit_leaves_everything_as_it_was(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _land(tmp_path))
    before = (table.snapshot_id(), _rows(rejects))
    for spec in (replace(_replay(), on_bad_row="fail"), replace(_replay(), max_bad_rows=0)):
        with pytest.raises(moulin.JobFailed, match=r"fields, expected 3|max_bad_rows = 0"):
            _done(client, spec, moulin.JobKey(task_id=f"replay {spec.on_bad_row}"))
    assert (table.snapshot_id(), _rows(rejects)) == before
    _nothing_is_left_over(table, rejects)


@pytest.mark.parametrize("point", COMMITTED_BY)
def test_a_replay_that_is_killed_lands_and_marks_once(
    point: str, worker: WorkerProcess, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(worker.start(), _land(tmp_path))
    worker.close()
    client = worker.start(MOULIN_FAULT_POINT=f"{point}:kill")
    with contextlib.suppress(moulin.Unavailable):
        client.submit(_replay(), REPLAY)
    assert worker.wait_end() == -signal.SIGKILL

    receipt = _done(worker.start(), _replay(), REPLAY)

    assert receipt.attempt == COMMITTED_BY[point]
    assert (receipt.rows_landed, receipt.rows_rejected) == (FIXABLE, 1)
    _is_replayed_once(table, rejects, receipt.token)
    assert len(table.load().snapshots()) == 2


@pytest.mark.parametrize("point", ["rows_committed", "rejects_written", "committed_not_recorded"])
def test_snapshots_that_expire_between_crash_and_retry_change_nothing(
    point: str, worker: WorkerProcess, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    client = worker.start()
    _done(client, _land(tmp_path))
    _done(client, _land(tmp_path, 1), _key(1))
    worker.close()
    worker.start(MOULIN_FAULT_POINT=f"{point}:kill").submit(_replay("uri LIKE '%/0.csv'"), REPLAY)
    assert worker.wait_end() == -signal.SIGKILL
    for one in (table, rejects):
        loaded = one.load()
        row = {field.name: None for field in loaded.schema().as_arrow()}
        if one is table:
            loaded.append(pa.Table.from_pylist([{**row, "id": 77_777}], schema=loaded.schema().as_arrow()))
        else:
            loaded.append(loaded.scan().to_arrow().slice(0, 0))
        now = one.load().current_snapshot()
        older = [s.snapshot_id for s in one.load().snapshots() if now and s.snapshot_id != now.snapshot_id]
        one.load().maintenance.expire_snapshots().by_ids(older).commit()

    receipt = _done(worker.start(), _replay("uri LIKE '%/0.csv'"), REPLAY)

    assert (receipt.rows_landed, receipt.rows_rejected) == (FIXABLE, 1)
    assert table.ids() == sorted(_good(0) + _good(1) + _fixed(0) + [77_777])
    marked = Counter(r["replayed_by"] for r in _rows(rejects) if r["uri"].endswith("/0.csv"))
    assert marked == {receipt.token: FIXABLE + 1, None: 1}


@pytest.mark.parametrize("point", ["rows_committed", "rejects_written"])
def test_rejects_that_others_write_again_or_add_to_in_between_are_marked_all_the_same(
    point: str, worker: WorkerProcess, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(worker.start(), _land(tmp_path))
    worker.close()
    worker.start(MOULIN_FAULT_POINT=f"{point}:kill").submit(_replay(), REPLAY)
    assert worker.wait_end() == -signal.SIGKILL
    # A compaction: all rows in other files, and a row of somebody else.
    loaded = rejects.load()
    rows = loaded.scan().to_arrow()
    foreign = rows.slice(0, 1).set_column(
        rows.schema.get_field_index("token"), rows.schema.field("token"), pa.array(["other/0"])
    )
    loaded.overwrite(pa.concat_tables([rows, foreign]))

    receipt = _done(worker.start(), _replay(), REPLAY)

    rows = _rows(rejects)
    assert Counter(r["replayed_by"] for r in rows if r["token"] != "other/0") == {receipt.token: FIXABLE + 1, None: 1}
    (other,) = (r for r in rows if r["token"] == "other/0")
    assert other["replayed_by"] is None
    assert table.ids() == sorted(_good() + _fixed())


def test_two_replays_at_once_take_each_reject_once(
    new_worker: NewWorker, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    one, two = (new_worker(name, MOULIN_LEASE="2s") for name in ("one", "two"))
    clients = [one.start(), two.start()]
    for number in range(4):
        _done(clients[0], _land(tmp_path, number), _key(number))
    handles = [
        clients[n % 2].submit(_replay(), moulin.JobKey(dag_id="dag", run_id="run", task_id=f"replay{n}"))
        for n in range(6)
    ]
    receipts = [handle.wait(60).receipt for handle in handles]
    assert sum(receipt.rows_landed for receipt in receipts if receipt) == 4 * FIXABLE
    assert table.ids() == sorted(n for number in range(4) for n in _good(number) + _fixed(number))
    # The four that never fit are taken by every replay anew, and are open once.
    by_place = Counter((r["uri"], r["record"]) for r in _rows(rejects) if r["replayed_by"] is None)
    assert sorted(by_place.values()) == [1] * 4
    _nothing_is_left_over(table, rejects)


def test_a_zombie_neither_lands_nor_marks_again(
    new_worker: NewWorker, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    heir, zombie = (new_worker(name, MOULIN_LEASE="1s") for name in ("heir", "zombie"))
    client = heir.start()
    _done(client, _land(tmp_path))
    heir.close()
    asked = zombie.start(MOULIN_FAULT_POINT="rejects_written:pause")
    asked.submit(_replay(), REPLAY)
    zombie.wait_paused()
    receipt = _done(heir.start(), _replay(), REPLAY)
    zombie.resume()
    until("the zombie has given up", lambda: asked.describe().running == 0)
    _is_replayed_once(table, rejects, receipt.token)


def test_a_replay_and_another_one_of_the_same_key_are_one_job(client: moulin.Client, tmp_path: Path) -> None:
    _done(client, _land(tmp_path))
    first = client.submit(_replay(), REPLAY).wait(60)
    second = client.submit(_replay(), REPLAY)
    assert not second.created
    assert second.wait(60).receipt == first.receipt


def test_jobs_and_catalog_in_postgresql(
    postgres: LocalPostgres, state: Path, new_worker: NewWorker, tmp_path: Path
) -> None:
    catalog = catalogs.postgres(state, postgres.new_database())
    uri = catalog.settings["MOULIN_CATALOG_URI"]
    worker = new_worker("pg", MOULIN_LEASE="2s", **{**catalog.settings, "MOULIN_STORE_URL": uri})
    theirs = uri.replace("postgresql:", "postgresql+psycopg2:")
    table, rejects = LandedTable(state, TABLE, theirs), LandedTable(state, f"{TABLE}__rejects", theirs)
    _done(worker.start(), _land(tmp_path))
    worker.close()
    worker.start(MOULIN_FAULT_POINT="rejects_written:kill").submit(_replay(), REPLAY)
    assert worker.wait_end() == -signal.SIGKILL
    client = worker.start()
    receipt = _done(client, _replay(), REPLAY)
    _is_replayed_once(table, rejects, receipt.token)
    # And the job that rejected the rows, done anew, takes away what was made of them.
    redone = _done(client, _land(tmp_path), generation=1)
    assert (redone.rows_replaced, redone.rejects_replaced) == (GOOD + FIXABLE, FIXABLE + 2)
    assert table.ids() == _good()
    assert [r["replayed_by"] for r in _rows(rejects)] == [None] * (FIXABLE + 1)


def test_the_command_line_replays_plans_and_says_what_it_did(
    state: Path, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text(_land(tmp_path).to_yaml())
    assert run_moulin(state, "run", spec).returncode == 0
    spec.write_text(spec.read_text().replace('format: "csv"', 'format: {"csv": {"null_values": ["n/a"]}}'))
    assert "n/a" in spec.read_text()

    planned = run_moulin(state, "replay", TABLE, "--spec", spec, "--plan")
    assert planned.returncode == 0, planned.stderr
    assert f"rejects       {FIXABLE + 1} of {TABLE}__rejects" in planned.stdout
    assert table.ids() == _good()

    done = run_moulin(state, "replay", TABLE, "--spec", spec, "--key", "monday", "--json")
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert (receipt["rows_landed"], receipt["rows_rejected"], receipt["replay"]["replayed"]) == (3, 1, 4)
    again = run_moulin(state, "replay", TABLE, "--spec", spec, "--key", "monday")
    assert again.returncode == 0
    assert "replayed 4" in again.stdout
    assert "in 1 data file\n              (1 thread)" in again.stdout
    _is_replayed_once(table, rejects, receipt["token"])

    nothing = run_moulin(state, "replay", TABLE, "--spec", spec, "--where", "code = 'none.such'")
    assert nothing.returncode == 0
    assert "there are none that meet the condition and that no replay has taken" in nothing.stdout
    wrong = run_moulin(state, "replay", "bronze.other", "--spec", spec)
    assert (wrong.returncode, "its target is bronze.numbers" in wrong.stderr) == (2, True)


def test_a_cleared_replay_takes_its_rejects_again(
    client: moulin.Client, table: LandedTable, rejects: LandedTable, tmp_path: Path
) -> None:
    _done(client, _land(tmp_path))
    first = _done(client, _replay(), REPLAY)
    second = _done(client, replace(_replay(), transform=moulin.sql("SELECT id, part, 'fixed' AS note FROM input")),
                   REPLAY, generation=1)  # fmt: skip
    assert (second.rows_landed, second.rows_replaced, second.replaced_snapshot_id) == (3, 3, first.snapshot_id)
    _is_replayed_once(table, rejects, second.token)
    notes = table.load().scan().to_arrow()
    assert Counter(notes.filter(pc.field("id") >= 500)["note"].to_pylist()) == {"fixed": FIXABLE}
    # With append it is a replay like any other: only what is open is taken.
    spec = replace(_replay(), target=moulin.iceberg(TABLE, on_rerun="append"))
    third = _done(client, spec, REPLAY, generation=2)
    assert (third.rows_read, third.rows_landed, third.rows_replaced) == (1, 0, 0)
    # And what this one has rejected again since is not to be taken away from under it.
    _done(client, _replay(), replace(REPLAY, task_id="later"))
    with pytest.raises(moulin.JobFailed, match="have been replayed by"):
        _done(client, _replay(), REPLAY, generation=3)
