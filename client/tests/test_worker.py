"""The client against a real worker."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import uuid
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from conftest import ROWS, StalledSource
from local_stack.worker import LocalWorker

import moulin
from moulin import JobKey, JobSpec, JobState, csv, iceberg, sql

COLUMNS = {"id": "long", "name": "string", "score": "double", "since": "date"}


def spec_of(people: Path, table: str) -> JobSpec:
    return JobSpec(source=csv(people, null_values=["NA"]), target=iceberg(table))


def test_a_job_lands_and_accounts_for_every_row(client: moulin.Client, people: Path, table: str) -> None:
    spec = JobSpec(
        source=csv(people, null_values=["NA"]),
        transform=sql("SELECT *, score > 100 AS high FROM input WHERE id >= 200"),
        target=iceberg(table, partition_by=["month(since)"]),
    )
    seen: list[moulin.Job] = []
    handle = client.submit(spec).wait(timeout=60, on_progress=seen.append)
    assert handle.created
    assert seen[-1].state is JobState.SUCCEEDED
    receipt = handle.receipt
    assert receipt is not None
    assert (receipt.rows_read, receipt.rows_landed, receipt.rows_filtered) == (ROWS, 800, 200)
    assert receipt.table == table
    assert receipt.files == 1
    assert receipt.bytes_read == people.stat().st_size
    assert receipt.snapshot_id
    assert client.get(handle.job_id).receipt == receipt
    rows = handle.to_arrow().sort_by("id")
    assert rows.column_names == ["id", "name", "score", "since", "high"]
    assert rows["id"].to_pylist() == list(range(200, ROWS))
    assert rows["score"].null_count == 80
    assert rows["since"][0].as_py() == date(2024, 1, 200 % 28 + 1)


def test_a_table_read_twice_is_read_by_job(client: moulin.Client, people: Path, table: str) -> None:
    target = iceberg(table, on_loaded_file="reload")
    spec = JobSpec(source=csv(people, null_values=["NA"]), target=target)
    first, second = client.submit(spec).wait(60), client.submit(spec).wait(60)
    assert first.job_id != second.job_id, "without a key every submit is a job of its own"
    assert first.to_arrow().num_rows == second.to_arrow().num_rows == ROWS


def test_a_lazy_frame_is_run_by_the_worker(client: moulin.Client, people: Path, table: str) -> None:
    source = csv(people, null_values=["NA"])
    columns = client.plan(JobSpec(source=source, target=iceberg(table))).input
    frame = moulin.empty_frame(columns).filter(pl.col("id") < 10).with_columns(double=pl.col("score") * 2)
    rows = client.submit(JobSpec(source=source, transform=frame, target=iceberg(table))).to_arrow(60).sort_by("id")
    assert rows["double"].to_pylist() == [None if n == 0 else n / 2 for n in range(10)]


def test_a_plan_says_what_would_happen_and_changes_nothing(client: moulin.Client, people: Path, table: str) -> None:
    spec = JobSpec(
        source=csv(people, null_values=["NA"], columns={"score": "decimal(8,2)"}),
        transform=sql("SELECT id, score FROM input"),
        target=iceberg(table, partition_by="bucket(4, id)"),
    )
    plan = client.plan(spec)
    assert [(c.name, c.type, c.origin) for c in plan.input] == [
        ("id", "long", "inferred"),
        ("name", "string", "inferred"),
        ("score", "decimal(8,2)", "declared"),
        ("since", "date", "inferred"),
    ]
    assert [(c.name, c.type) for c in plan.output] == [("id", "long"), ("score", "decimal(8,2)")]
    assert [file.size_bytes for file in plan.files] == [people.stat().st_size]
    assert plan.files[0].uri.endswith(str(people))
    assert (plan.table, plan.partition_by, plan.row_wise) == (table, ("bucket(4, id)",), True)
    assert not plan.table_exists
    assert not client.plan(spec).table_exists


def test_one_key_is_one_job(client: moulin.Client, people: Path, table: str) -> None:
    key = JobKey("land", dag_id="d", run_id=str(uuid.uuid4()), map_index=3)
    first = client.submit(spec_of(people, table), key).wait(60)
    again = client.submit(spec_of(people, table), key, epoch=2)
    assert again.job_id == first.job_id
    assert not again.created
    assert again.job.key == key
    assert again.job.epoch == 2
    redo = client.submit(spec_of(people, table), key, generation=1)
    assert redo.created
    assert redo.job_id != first.job_id


def test_a_stale_try_cannot_cancel(client: moulin.Client, stalled: StalledSource, table: str) -> None:
    spec = JobSpec(source=csv(stalled.uris, null_values=["NA"], columns=COLUMNS), target=iceberg(table))
    key = JobKey(table)
    old = client.submit(spec, key, epoch=1)
    new = client.submit(spec, key, epoch=2)
    with pytest.raises(moulin.StaleEpoch) as raised:
        old.cancel("task cleared")
    assert not raised.value.retryable
    new.cancel("task marked failed")
    with pytest.raises(moulin.JobCancelled, match="task marked failed") as cancelled:
        new.wait(60)
    assert cancelled.value.job.state is JobState.CANCELLED
    assert cancelled.value.kind is moulin.FaultKind.CANCELLED


def test_waiting_can_end_before_the_job(client: moulin.Client, stalled: StalledSource, table: str) -> None:
    spec = JobSpec(source=csv(stalled.uris, null_values=["NA"], columns=COLUMNS), target=iceberg(table))
    handle = client.submit(spec)
    with pytest.raises(moulin.WaitTimeout, match=r"was not over after 0\.3 s"):
        handle.wait(timeout=0.3)
    stalled.release()
    handle.wait(timeout=60)


def test_rows_can_be_read_while_the_job_runs(client: moulin.Client, stalled: StalledSource, table: str) -> None:
    spec = JobSpec(source=csv(stalled.uris, null_values=["NA"], columns=COLUMNS), target=iceberg(table))
    handle = client.submit(spec)
    assert stalled.reached.wait(30)
    dropped: list[int] = []
    reader = handle.reader(on_dropped=dropped.append)
    assert handle.get().state is JobState.RUNNING
    assert reader.schema.names == list(COLUMNS)
    stalled.release()
    rows = reader.read_all()
    assert sorted(rows["id"].to_pylist()) == list(range(ROWS))
    assert dropped == []
    assert rows.sort_by("id").equals(handle.to_arrow(60).cast(rows.schema).sort_by("id"))


def test_leaving_a_reader_leaves_the_job_alone(client: moulin.Client, stalled: StalledSource, table: str) -> None:
    spec = JobSpec(source=csv(stalled.uris, null_values=["NA"], columns=COLUMNS), target=iceberg(table))
    handle = client.submit(spec)
    assert stalled.reached.wait(30)
    handle.reader().close()
    stalled.release()
    receipt = handle.wait(60).receipt
    assert receipt is not None
    assert receipt.rows_landed == ROWS


def test_messages_over_4_mb_arrive(client: moulin.Client, tmp_path: Path, table: str) -> None:
    path = tmp_path / "wide.ndjson.gz"
    with gzip.open(path, "wt") as file:
        for n in range(12):
            file.write(f'{{"n": {n}, "text": "{chr(97 + n) * (1 << 20)}"}}\n')
    rows = client.submit(JobSpec(source=moulin.ndjson(path), target=iceberg(table))).to_arrow(60)
    lengths = pa.compute.utf8_length(rows["text"]).to_pylist()
    assert lengths == [1 << 20] * 12


def test_a_bad_row_fails_with_its_place(client: moulin.Client, people: Path, table: str) -> None:
    with people.open("a") as file:
        file.write("not a number,x,1,2024-01-01\n")
    handle = client.submit(
        JobSpec(source=csv(people, null_values=["NA"], columns={"id": "long"}), target=iceberg(table))
    )
    with pytest.raises(moulin.JobFailed, match="not a number") as raised:
        handle.wait(60)
    fault = raised.value.fault
    assert fault.kind is moulin.FaultKind.BAD_ROW
    assert not raised.value.retryable
    assert fault.place is not None
    assert (fault.place.line, fault.place.record, fault.place.column) == (ROWS + 2, ROWS + 1, "id")
    assert fault.place.uri.endswith(str(people))
    with pytest.raises(moulin.JobFailed, match="not a number"):
        handle.to_arrow()
    with pytest.raises(moulin.JobFailed, match="not a number"):
        handle.reader()


def test_bad_rows_are_counted_when_they_are_skipped(client: moulin.Client, people: Path, table: str) -> None:
    with people.open("a") as file:
        file.write("not a number,x,1,2024-01-01\n1,2\n")
    spec = JobSpec(
        source=csv(people, null_values=["NA"], columns={"id": "long"}), target=iceberg(table), on_bad_row="skip"
    )
    receipt = client.submit(spec).wait(60).receipt
    assert receipt is not None
    assert (receipt.rows_read, receipt.rows_landed, receipt.rows_rejected) == (ROWS + 2, ROWS, 2)
    assert [reject.place.line for reject in receipt.rejects] == [ROWS + 2, ROWS + 3]
    assert moulin.Receipt.from_dict(receipt.to_dict()) == receipt


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"transform": {"sql": "SELECT nme FROM input"}}, moulin.SpecError, "nme"),
        ({"transform": {"sql": "SELEC 1"}}, moulin.MoulinError, "SELEC"),
        ({"source": {"uris": ["/nowhere/a.csv"], "format": "csv"}}, moulin.NotFound, "/nowhere/a.csv"),
        ({"columns": {"nme": "long"}}, moulin.SpecError, "nme"),
    ],
)
def test_what_can_be_known_is_refused_at_once(
    client: moulin.Client,
    people: Path,
    table: str,
    change: dict[str, object],
    error: type[moulin.MoulinError],
    said: str,
) -> None:
    job = spec_of(people, table).to_dict()
    columns = change.pop("columns", None)
    job.update(change)
    if columns is not None:
        job["source"] = csv(people, columns=columns).to_dict()  # type: ignore[arg-type]
    for ask in (client.submit, client.plan):
        with pytest.raises(error, match=said) as raised:
            ask(job)
        assert not raised.value.retryable
        assert raised.value.hint


def test_a_python_function_in_a_plan_is_refused(client: moulin.Client, people: Path, table: str) -> None:
    frame = moulin.empty_frame({"id": "long"}).with_columns(pl.col("id").map_batches(lambda ids: ids))
    # Polars itself cannot serialize one unless cloudpickle is there; then it is the worker that refuses.
    with pytest.raises(moulin.MoulinError, match=r"a Python function|calls Python") as raised:
        client.plan(JobSpec(source=csv(people), transform=frame.select("id"), target=iceberg(table)))
    assert raised.value.kind in (moulin.FaultKind.INVALID_SPEC, moulin.FaultKind.TRANSFORM)
    assert not raised.value.retryable


@pytest.mark.parametrize("transform", [sql('SELECT id, "name" FROM input'), "lazy"])
def test_the_command_line_reads_the_job_files_of_the_client(
    worker: LocalWorker, people: Path, table: str, tmp_path: Path, transform: moulin.Sql | str
) -> None:
    source = csv(people, null_values=["NA", "", 'a "quoted": value # x'], columns={"id": "long"})
    spec = JobSpec(
        source=source,
        transform=moulin.empty_frame(COLUMNS).select("id", "name") if isinstance(transform, str) else transform,
        target=iceberg(table, partition_by=["bucket(4, id)"], properties={"write.parquet.row-group-limit": 5}),
        on_bad_row="skip",
        deadline="1h 30m",
    )
    path = tmp_path / "job.yaml"
    path.write_text(spec.to_yaml())
    env = {**os.environ, "MOULIN_STATE_DIR": str(tmp_path / "state")}
    said = subprocess.run([worker.binary, "plan", "--json", path], env=env, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    plan = json.loads(said.stdout)
    assert [column["name"] for column in plan["output"]] == ["id", "name"]
    assert plan["partition_by"] == ["bucket(4, id)"]


def test_a_job_nobody_has_is_not_found(client: moulin.Client) -> None:
    for ask in (client.get, client.job, client.cancel):
        with pytest.raises(moulin.NotFound, match="job-nobody"):
            ask("job-nobody")
    with pytest.raises(moulin.NotFound, match="job-nobody"):
        next(client.watch("job-nobody"))


def test_jobs_are_listed_newest_first(client: moulin.Client, people: Path, table: str) -> None:
    made = [client.submit(spec_of(people, table)).wait(60).job_id for _ in range(3)]
    listed = list(client.list(table=table, page_size=1))
    assert [job.job_id for job in listed] == made[::-1]
    assert {job.state for job in listed} == {JobState.SUCCEEDED}
    assert list(client.list(table=table, states=["failed"])) == []
    assert client.job(made[0]).receipt == client.get(made[0]).receipt


def test_a_worker_describes_itself(client: moulin.Client) -> None:
    worker = client.describe(check=True)
    assert worker.worker_id
    assert worker.python_polars_version == pl.__version__
    assert worker.slots > 0
    assert worker.started_at is not None
    assert worker.started_at.tzinfo is not None
    assert {"store", "catalog", "warehouse"} <= {check.name for check in worker.checks}
    assert worker.healthy
    assert client.describe().checks == ()
