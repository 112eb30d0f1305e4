"""The examples beside `land_flights` and `clean_flights`, each run by a real Airflow; and what OpenLineage heard of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from local_stack.processes import wait_until


def run(stack, dag_id: str, **conf) -> str:
    run_id = stack.airflow.trigger(dag_id, conf)
    assert stack.airflow.wait_run(dag_id, run_id) == "success"
    return run_id


def test_lazyframe_etl_lands_an_aggregation(stack, flights_csv):
    run_id = run(stack, "lazyframe_etl", flights=flights_csv.as_uri(), slow_minutes=60)
    receipt = stack.airflow.xcom("lazyframe_etl", run_id, "delays")
    landed = stack.rows("gold.delays")
    assert landed.num_rows == receipt["rows_landed"] == 185
    assert receipt["rows_filtered"] is None
    assert sum(landed["departures"].to_pylist()) == 328_521
    assert 0 < sum(landed["late"].to_pylist()) < 50_000


def test_mapped_backfill_lands_every_day_in_one_table(stack, tmp_path):
    days = [f"2013-01-{n:02}" for n in range(1, 6)]
    for day in days:
        (tmp_path / f"{day}.csv").write_text(f"day,n\n{day},1\n{day},2\n")
    pattern = f"{tmp_path.as_uri()}/{{day}}.csv"
    run_id = run(stack, "mapped_backfill", pattern=pattern, first=days[0], last=days[-1])
    landed = stack.rows("bronze.daily")
    assert sorted(str(day) for day in landed["day"].to_pylist()) == sorted(days * 2)
    jobs = stack.jobs(run_id)
    assert sorted(job.key.map_index for job in jobs) == [0, 1, 2, 3, 4]
    assert {job.state.value for job in jobs} == {"succeeded"}

    # One day is read again, and replaces what it had landed.
    (tmp_path / f"{days[2]}.csv").write_text(f"day,n\n{days[2]},3\n")
    stack.airflow.clear("mapped_backfill", run_id, "land", map_index=2)
    wait_until("the day was landed again", lambda: len(stack.jobs(run_id)) == 6, 240)
    assert stack.airflow.wait_run("mapped_backfill", run_id) == "success"
    again = stack.rows("bronze.daily").to_pylist()
    assert len(again) == 9
    assert [row["n"] for row in again if str(row["day"]) == days[2]] == [3]


def test_read_results_reads_the_rows_in_a_task_downstream(stack, flights_csv):
    run_id = run(stack, "read_results", flights=flights_csv.as_uri(), minutes=120, origin="JFK")
    receipt = stack.airflow.xcom("read_results", run_id, "late")
    found = stack.airflow.xcom("read_results", run_id, "busiest")
    assert found["rows"] == receipt["rows_landed"] > 0
    assert 0 < found["late"] <= found["rows"]
    # The page of the task shows the text that was sent.
    path = f"/dags/read_results/dagRuns/{run_id.replace('+', '%2B')}/taskInstances/late"
    shown = stack.airflow.api("GET", path)["rendered_fields"]["transform"]
    assert shown == "SELECT carrier, dep_delay FROM input WHERE dep_delay >= 120 AND origin = 'JFK'"


def test_silver_flights_makes_a_table_of_a_table_and_asks_it(stack, flights_csv, tmp_path):
    flights_csv = Path(shutil.copy(flights_csv, tmp_path / "flights.csv.gz"))
    run(stack, "land_flights", flights=flights_csv.as_uri())
    bronze = stack.table("bronze.flights")
    run_id = run(stack, "silver_flights", worst=3)
    receipt = stack.airflow.xcom("silver_flights", run_id, "delays")
    (read,) = receipt["tables"]
    assert (read["table"], read["snapshot_id"]) == ("bronze.flights", str(bronze.current_snapshot().snapshot_id))
    silver = stack.rows("silver.delays")
    assert silver.num_rows == receipt["rows_landed"] > 10
    departures = sum(silver["departures"].to_pylist())
    assert departures == sum(one is not None for one in stack.rows("bronze.flights")["dep_delay"].to_pylist())
    # The query's rows are an XCom of numbers and texts, worst first, and `tell` has read them there.
    asked = stack.airflow.xcom("silver_flights", run_id, "worst")
    means = [row["mean_delay"] for row in asked["rows"]]
    assert (asked["row_count"], means) == (3, sorted(means, reverse=True))
    assert stack.airflow.xcom("silver_flights", run_id, "tell")[0].startswith(asked["rows"][0]["carrier"])
    with_table = stack.table("silver.delays").current_snapshot().snapshot_id
    assert asked["tables"] == {"silver.delays": str(with_table)}

    # Cleared: the redo reads again, and its rows replace those of the first.
    stack.airflow.clear("silver_flights", run_id, "delays")
    wait_until("it was made again", lambda: len(stack.jobs(run_id)) == 2, 240)
    assert stack.airflow.wait_run("silver_flights", run_id) == "success"
    assert stack.rows("silver.delays").num_rows == silver.num_rows
    (complete,) = wait_until("the transform was told", lambda: lineage(stack, run_id, "delays"), 60)
    assert [(one["namespace"], one["name"]) for one in complete["inputs"]] == [("iceberg://moulin", "bronze.flights")]
    assert complete["inputs"][0]["facets"]["version"]["datasetVersion"] == read["snapshot_id"]


def test_land_on_arrival_misses_no_file_and_lands_none_twice(stack, tmp_path):
    arrivals = Path(stack.worker.state_dir).parent / "arrivals"
    arrivals.mkdir()

    def arrive(name: str, **files: int) -> None:
        """Files that are there at one look, all of them."""
        (tmp_path / name).mkdir()
        for file, first in files.items():
            rows = "".join(f"{n},{file}\n" for n in range(first, first + 10))
            (tmp_path / name / f"{file}.csv").write_text(f"id,file\n{rows}")
        (tmp_path / name).rename(arrivals / name)

    def landed() -> list[int]:
        return sorted(stack.rows("bronze.arrivals")["id"].to_pylist()) if stack.exists("bronze.arrivals") else []

    stack.airflow.wait_dag("land_on_arrival")
    arrive("monday", a=0, b=10)
    wait_until("both files are landed", lambda: landed() == list(range(20)), 300)
    events = stack.airflow.api("GET", "/assets/events?order_by=timestamp")["asset_events"]
    told = [event["extra"]["payload"] for event in events if "payload" in event["extra"]]
    assert [one["files"] for one in told] == [2], "two files at one look are one event"

    # One that comes while the next run is about to begin is landed by that run or the one after it, once.
    arrive("tuesday", c=20)
    arrive("wednesday", d=30)
    wait_until("all files are landed", lambda: landed() == list(range(40)), 300)

    # A triggerer that comes back may tell of files again: nothing is landed twice.
    stack.airflow.kill_component("triggerer")
    stack.airflow.start_component("triggerer")
    arrive("thursday", e=40)
    wait_until("the last file is landed", lambda: landed() == list(range(50)), 300)
    runs = stack.airflow.api("GET", "/dags/land_on_arrival/dagRuns")["dag_runs"]
    assert {stack.airflow.wait_run("land_on_arrival", one["dag_run_id"]) for one in runs} == {"success"}
    assert landed() == list(range(50))
    stack.airflow.wait_healthy()


def test_asset_consumer_is_started_by_a_landing_and_knows_its_snapshot(stack, flights_csv, tmp_path):
    # Another file than that of the other test: the table is loaded with a file once.
    flights_csv = Path(shutil.copy(flights_csv, tmp_path / "flights.csv.gz"))
    stack.airflow.wait_dag("asset_consumer")
    run_id = run(stack, "land_flights", flights=flights_csv.as_uri())
    receipt = stack.airflow.xcom("land_flights", run_id, "land_flights")

    def told() -> list[dict]:
        runs = stack.airflow.api("GET", "/dags/asset_consumer/dagRuns?order_by=-run_after")["dag_runs"]
        for one in runs:
            if one["state"] == "success":
                for extra in stack.airflow.xcom("asset_consumer", one["dag_run_id"], "what_came_in"):
                    if extra["job_id"] == receipt["job_id"]:
                        return [extra]
        return []

    (extra,) = wait_until("asset_consumer ran for this landing", told, 240)
    assert extra["snapshot_id"] == receipt["snapshot_id"]
    assert (extra["rows_landed"], extra["files"], extra["table"]) == (215_941, 1, "bronze.flights")

    # What was sent to OpenLineage, by the file transport.
    (complete,) = wait_until("the landing was told", lambda: lineage(stack, run_id, "land_flights"), 60)
    (source,) = complete["inputs"]
    assert (source["namespace"], source["name"]) == ("file", str(flights_csv))
    assert "dep_delay" in [field["name"] for field in source["facets"]["schema"]["fields"]]
    (table,) = complete["outputs"]
    assert (table["namespace"], table["name"]) == ("iceberg://moulin", "bronze.flights")
    assert table["outputFacets"]["outputStatistics"]["rowCount"] == 215_941
    late = table["facets"]["columnLineage"]["fields"]["late"]["inputFields"]
    assert [one["field"] for one in late] == ["dep_delay"]
    assert complete["job"]["facets"]["sql"]["query"].startswith("SELECT *, dep_delay > 15")


def lineage(stack, run_id: str, task_id: str) -> list[dict]:
    """Complete events of a task of this run that name a table."""
    path = Path(stack.worker.state_dir).parent / "lineage.ndjson"
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [
        event
        for event in events
        if event["eventType"] == "COMPLETE"
        and event["job"]["name"].endswith(f".{task_id}")
        and event["outputs"]
        and run_id in json.dumps(event["run"])
    ][:1]
