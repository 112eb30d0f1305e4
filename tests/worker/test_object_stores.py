"""Files of an S3-compatible server land in tables on it, through PostgreSQL and REST catalogs."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

import catalogs
import input_files
import moulin
from catalogs import CatalogUnderTest
from local_stack.postgres import LocalPostgres
from local_stack.rest_catalog import LocalRestCatalog
from local_stack.s3 import REGION, LocalS3
from worker_process import NewWorker, WorkerProcess, run_moulin

KEY = moulin.JobKey(dag_id="dag", run_id="run", task_id="land")


@pytest.fixture
def bucket(s3: LocalS3) -> str:
    return s3.new_bucket()


@pytest.fixture
def source(s3: LocalS3, bucket: str) -> moulin.source.Source:
    """Rows with the ids of `input_files`, in the bucket."""
    input_files.numbered(s3.path(bucket) / "raw", rows=9_000)
    return moulin.csv(f"s3://{bucket}/raw/*.csv", columns={"id": "long", "amount": "decimal(12,2)"})


@pytest.fixture
def on_postgres(s3: LocalS3, bucket: str, postgres: LocalPostgres) -> CatalogUnderTest:
    return catalogs.on_s3(postgres.new_database(), bucket, s3)


@pytest.fixture
def table() -> str:
    return f"ns_{uuid.uuid4().hex[:8]}.numbers"


def _ids(catalog: CatalogUnderTest, table: str) -> list[int]:
    return sorted(catalog.open().load_table(table).scan().to_arrow()["id"].to_pylist())


def _config(state: Path, catalog: str, s3: LocalS3) -> Mapping[str, str]:
    """A worker told of everything by a file that names its secrets."""
    (state / "secret").write_text(s3.secret_access_key + "\n")
    (state / "moulin.toml").write_text(
        f"""{catalog}
[storage.s3]
endpoint = "{s3.endpoint}"
region = "{REGION}"
allow_http = true
access_key_id = {{ env = "LAKE_KEY_ID" }}
secret_access_key = {{ file = "{state}/secret" }}
"""
    )
    return {"MOULIN_CONFIG": str(state / "moulin.toml"), "LAKE_KEY_ID": s3.access_key_id}


def test_files_on_s3_land_on_s3_by_the_same_settings(
    s3: LocalS3,
    bucket: str,
    source: moulin.source.Source,
    on_postgres: CatalogUnderTest,
    new_worker: NewWorker,
    state: Path,
    table: str,
) -> None:
    uri = on_postgres.settings["MOULIN_CATALOG_URI"]
    catalog = f'[catalog]\nuri = {{ env = "LAKE_CATALOG" }}\nwarehouse = "s3://{bucket}/warehouse"'
    settings = {**_config(state, catalog, s3), "LAKE_CATALOG": uri}
    worker = new_worker(**settings)
    client = worker.start(MOULIN_LOG="trace,h2=info,tower=info,hyper=info")
    spec = moulin.JobSpec(source=source, target=moulin.iceberg(table, partition_by=["part"]))

    job = client.submit(spec, KEY).wait(60)

    receipt = job.get().receipt
    assert receipt is not None
    assert _ids(on_postgres, table) == list(range(9_000))
    assert receipt.metadata_location.startswith(f"s3://{bucket}/warehouse/")
    assert job.to_arrow().num_rows == 9_000
    doctor = run_moulin(state, "doctor", **settings)
    assert doctor.returncode == 0, doctor.stdout
    assert f"warehouse s3://{bucket}/warehouse can be written, read and cleaned" in doctor.stdout
    password = uri.split("moulin:")[1].split("@")[0]
    wrong = moulin.JobSpec(source=moulin.csv("s3://no-such-bucket/x.csv"), target=moulin.iceberg(table))
    with pytest.raises(moulin.NotFound) as caught:
        client.submit(wrong)
    for secret in (s3.secret_access_key, password):
        for told in (worker.log(), str(asdict(receipt)), doctor.stdout + doctor.stderr, str(caught.value)):
            assert secret not in told


def test_a_store_that_refuses_the_key_is_said_to(
    s3: LocalS3, bucket: str, on_postgres: CatalogUnderTest, state: Path
) -> None:
    environment = {**s3.environment, "AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    doctor = run_moulin(state, "doctor", **on_postgres.settings, **environment)
    assert doctor.returncode == 1
    wrong = [line for line in doctor.stdout.splitlines() if line.startswith("WRONG")]
    assert len(wrong) == 1, doctor.stdout
    assert wrong[0].split()[1] == "warehouse"
    assert "not-the-secret" not in doctor.stdout


def test_a_rest_catalog_gives_the_keys_to_its_tables(
    rest_catalog: LocalRestCatalog, s3: LocalS3, new_worker: NewWorker, state: Path, tmp_path: Path, table: str
) -> None:
    catalog = catalogs.rest(rest_catalog, s3)
    worker = new_worker(**catalog.settings, MOULIN_CATALOG_CREDENTIAL="me:hunter2")
    client = worker.start()
    spec = moulin.JobSpec(
        source=moulin.csv(input_files.numbered(tmp_path / "raw", rows=9_000), columns={"id": "long"}),
        target=moulin.iceberg(table, partition_by=["bucket(4, id)"]),
    )

    assert "chosen by the catalog" in str(client.plan(spec))
    job = client.submit(spec, KEY).wait(60)

    assert _ids(catalog, table) == list(range(9_000))
    assert job.to_arrow().num_rows == 9_000
    doctor = run_moulin(state, "doctor", **catalog.settings)
    assert "rest catalog with" in doctor.stdout, doctor.stdout
    for secret in (s3.secret_access_key, "hunter2"):
        for told in (worker.log(), str(job.get()), doctor.stdout):
            assert secret not in told


def test_moulin_and_pyiceberg_write_one_table_of_a_rest_catalog_in_turns(
    rest_catalog: LocalRestCatalog, s3: LocalS3, new_worker: NewWorker, tmp_path: Path, table: str
) -> None:
    catalog = catalogs.rest(rest_catalog, s3)
    client = new_worker(**catalog.settings).start()
    for turn in range(2):
        pattern = input_files.numbered(tmp_path / str(turn), rows=100)
        source = moulin.csv(pattern, columns={"id": "long"})
        client.submit(moulin.JobSpec(source=source, target=moulin.iceberg(table))).wait(60)
        theirs = catalog.open().load_table(table)
        theirs.append(pa.table({"id": pa.array(range(100, 150), pa.int64())}).cast(pa.schema([("id", pa.int64())])))
    assert _ids(catalog, table) == sorted((list(range(100)) + list(range(100, 150))) * 2)


@pytest.mark.parametrize(("point", "attempt"), [("before_commit", 2), ("committed_not_recorded", 1)])
def test_a_kill_around_the_commit_to_a_rest_catalog_leaves_each_row_once(
    point: str,
    attempt: int,
    rest_catalog: LocalRestCatalog,
    s3: LocalS3,
    new_worker: NewWorker,
    source: moulin.source.Source,
    table: str,
) -> None:
    catalog = catalogs.rest(rest_catalog, s3)
    worker: WorkerProcess = new_worker(**{**catalog.settings, **s3.environment})
    spec = moulin.JobSpec(source=source, target=moulin.iceberg(table))
    worker.start(MOULIN_FAULT_POINT=f"{point}:kill").submit(spec, KEY)
    assert worker.wait_end() == -signal.SIGKILL

    receipt = worker.start().submit(spec, KEY).wait(60).receipt

    assert receipt is not None
    assert receipt.attempt == attempt
    assert _ids(catalog, table) == list(range(9_000))
    assert len(catalog.open().load_table(table).snapshots()) == 1


def test_a_catalog_that_is_not_there_is_named_with_what_to_do(state: Path) -> None:
    for uri in ("http://127.0.0.1:1", "postgresql://me:hunter2@127.0.0.1:1/lake"):
        doctor = run_moulin(state, "doctor", MOULIN_CATALOG_URI=uri)
        assert doctor.returncode == 1
        (wrong,) = (part for part in doctor.stdout.split("\nWRONG ")[1:] if part.split()[0] == "catalog")
        assert "127.0.0.1:1" in wrong
        assert "is the server up" in wrong
        assert "hunter2" not in doctor.stdout
