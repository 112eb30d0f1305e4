"""`MoulinQueryOperator` against a real worker: small results as rows, all of them as tickets."""

from __future__ import annotations

import asyncio
import json
import queue
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from airflow.sdk.execution_time.timeout import timeout
from local_stack import LocalWorker
from moulin import AsyncClient, Client, sql
from moulin.errors import MoulinError, Unavailable
from moulin.fault import Fault, FaultKind
from moulin.flight import QueryRows
from moulin.query import is_busy
from pyiceberg.catalog.sql import SqlCatalog

from moulin_provider import query_turn
from moulin_provider.hooks.moulin import MoulinHook
from moulin_provider.operators.moulin import MoulinQueryOperator
from moulin_provider.query_result import SmallRows, json_value
from moulin_provider.triggers.query import MoulinQueryTrigger

TABLE = "asked.numbers"
ALL = f"SELECT id, name FROM {TABLE} ORDER BY id"


@pytest.fixture(scope="module")
def numbers(worker) -> SqlCatalog:
    with MoulinHook().get_conn() as client:
        assert client.describe().catalog
    catalog = SqlCatalog("moulin", uri=worker.catalog_uri, warehouse=worker.warehouse)
    catalog.create_namespace_if_not_exists("asked")
    found = catalog.create_table(TABLE, schema=pa.schema({"id": pa.int64(), "name": pa.string()}))
    found.append(pa.table({"id": [1, 2, 3], "name": ["a", "b", None]}))
    return catalog


def ask(sql: str = ALL, **changes) -> MoulinQueryOperator:
    return MoulinQueryOperator(**{"task_id": "ask", "sql": sql, "deferrable": False, **changes})


def joined(times: int) -> str:
    """The table with itself: three rows to this power."""
    return ", ".join(f"{TABLE} {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"[:times])


def snapshot(numbers) -> str:
    return str(numbers.load_table(TABLE).current_snapshot().snapshot_id)


def fired(deferred: TaskDeferred) -> dict:
    path, kwargs = deferred.trigger.serialize()
    assert path == f"{MoulinQueryTrigger.__module__}.{MoulinQueryTrigger.__qualname__}"
    trigger = MoulinQueryTrigger(**{**json.loads(json.dumps(kwargs)), "not_before": 0.0})

    async def fire():
        async with asyncio.timeout(120):
            return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(fire())
    return json.loads(json.dumps(event))


def result(deferrable: bool, **changes) -> dict:
    operator = ask(deferrable=deferrable, **changes)
    if not deferrable:
        return operator.execute({})
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute({})
    return ask(**changes).execute_complete({}, fired(deferred.value))


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_small_result_is_the_xcom(numbers, deferrable):
    found = result(deferrable)
    assert found["rows"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": None}]
    assert found["row_count"] == 3
    assert found["columns"] == [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}]
    assert found["tables"] == {TABLE: snapshot(numbers)}
    assert MoulinHook().reader(found).read_all().to_pylist() == found["rows"]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("bound", [{"max_xcom_rows": 2}, {"max_xcom_bytes": 60}, {"max_xcom_rows": 0}])
def test_a_result_beyond_a_bound_is_a_ticket(numbers, deferrable, bound):
    found = result(deferrable, **bound)
    assert (found["rows"], found["row_count"]) == (None, None)
    assert [row["id"] for row in MoulinHook().reader(found).read_all().to_pylist()] == [1, 2, 3]


@pytest.mark.parametrize("bound", [{"max_xcom_rows": 3}, {"max_xcom_bytes": len('[{"id": 1, "name": "a"}]') + 60}])
def test_a_result_at_a_bound_is_small(numbers, bound):
    assert ask(**bound).execute({})["row_count"] == 3


def test_a_ticket_reads_the_snapshot_that_was_asked(numbers):
    found = ask(wait_for_completion=False).execute({})
    assert found["rows"] is None
    numbers.load_table(TABLE).append(pa.table({"id": [4], "name": ["d"]}))
    assert MoulinHook().reader(found).read_all().num_rows == 3
    assert ask().execute({})["row_count"] == 4
    numbers.load_table(TABLE).delete("id = 4")

    async def read():
        return [batch.num_rows async for batch in MoulinHook().batches(found)]

    assert sum(asyncio.run(read())) == 3


def test_the_defaults_keep_a_large_result_out_of_the_database(numbers):
    found = ask(f"SELECT a.id FROM {joined(7)}").execute({})
    assert found["rows"] is None
    wide = ask(f"SELECT repeat('x', 30000) AS x FROM {TABLE}").execute({})
    assert wide["rows"] is None
    assert ask(f"SELECT repeat('x', 10000) AS x FROM {TABLE}").execute({})["row_count"] == 3


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("sql", ["SELECT nmae FROM asked.numbers", "SELECT 1 FROM asked.nothing", "DROP TABLE a.b"])
def test_a_wrong_query_fails_at_once_and_is_not_retried(numbers, deferrable, sql):
    with pytest.raises(AirflowFailException, match="the query of task ask failed"):
        ask(sql, deferrable=deferrable).execute({})


def test_a_failure_while_rows_are_read_is_told(numbers):
    sql = f"SELECT 1 / (id - 3) AS x FROM {TABLE}"
    for deferrable in (False, True):
        with pytest.raises(AirflowException, match=r"ivide by zero"):
            result(deferrable, sql=sql)


def test_time_that_is_up_ends_a_deferred_query(numbers):
    operator = ask(ENDLESS, deferrable=True, execution_timeout=timedelta(milliseconds=300))
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute({})
    assert deferred.value.timeout > timedelta(milliseconds=300)
    event = fired(deferred.value)
    assert event == {"status": "timeout"}
    with pytest.raises(AirflowException, match=r"execution_timeout of 0:00:00\.3"):
        operator.execute_complete({}, event)


ENDLESS = f"SELECT sum(a.id * b.id) AS n FROM {joined(26)}"


def test_time_that_is_up_ends_a_query_in_its_slot(numbers):
    # As the task's process does it: an alarm, while Arrow waits for a batch that does not come.
    with pytest.raises(AirflowTaskTimeout), timeout(3):
        ask(ENDLESS, execution_timeout=timedelta(seconds=3)).execute({})


def test_time_that_is_up_is_a_failure_to_retry_where_no_alarm_is_heard(numbers):
    with pytest.raises(AirflowException) as failed:
        ask(ENDLESS, execution_timeout=timedelta(milliseconds=300)).execute({})
    assert not isinstance(failed.value, AirflowFailException)


def test_a_host_that_does_not_answer_is_left_for_the_next(numbers, worker, monkeypatch):
    two = {"conn_type": "moulin", "host": "127.0.0.1:1,127.0.0.1", "port": worker.port}
    monkeypatch.setenv("AIRFLOW_CONN_TWO", json.dumps(two))
    for deferrable in (False, True):
        found = result(deferrable, moulin_conn_id="two")
        assert found["row_count"] == 3
        assert MoulinHook("two").reader(found).read_all().num_rows == 3
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY", "moulin://127.0.0.1:1")
    with pytest.raises(AirflowException) as failed:
        ask(moulin_conn_id="nobody").execute({})
    assert not isinstance(failed.value, AirflowFailException), "a retry can help"
    with MoulinHook("nobody").get_conn() as client, pytest.raises(Unavailable):
        client.query_ticket("SELECT 1")


class Refusals:
    """How often clients are refused, and in which words, before they are answered."""

    def __init__(self, number: int, words: str) -> None:
        self.asked = 0
        self._number = number
        self._words = words

    def ask(self) -> None:
        self.asked += 1
        if self.asked <= self._number:
            raise Unavailable(Fault(FaultKind.UNAVAILABLE, self._words, retryable=True))


BUSY = "the query cannot be read from here: 2 queries run on worker w already"
LOST = "the query cannot be read from here: connection reset"


@pytest.fixture
def refused(numbers, monkeypatch):
    """Lets clients be refused so many times, in calls and in asyncio; gives what was asked."""
    monkeypatch.setattr(query_turn, "_SECONDS", 0.0)

    def refused(number: int, words: str) -> Refusals:
        told = Refusals(number, words)
        redeem, aredeem = Client.redeem, AsyncClient.redeem

        def asked(self, ticket, **kwargs):
            told.ask()
            return redeem(self, ticket, **kwargs)

        async def aasked(self, ticket):
            told.ask()
            async for batch in aredeem(self, ticket):
                yield batch

        monkeypatch.setattr(Client, "redeem", asked)
        monkeypatch.setattr(AsyncClient, "redeem", aasked)
        return told

    return refused


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_query_asks_again_while_the_workers_are_busy_with_others(refused, deferrable):
    told = refused(30, BUSY)
    assert result(deferrable)["row_count"] == 3
    assert told.asked == 31


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_query_that_is_lost_is_asked_again_but_not_for_ever(refused, deferrable):
    told = refused(2, LOST)
    assert result(deferrable)["row_count"] == 3
    assert told.asked == 3
    told = refused(10**9, LOST)
    with pytest.raises(AirflowException, match="connection reset") as failed:
        result(deferrable)
    assert not isinstance(failed.value, AirflowFailException), "a retry can help"
    assert told.asked == 3


@pytest.fixture
def taken(worker, numbers, tmp_path, monkeypatch):
    """A worker that answers one query at a time, and is at it; gives what ends that one."""
    monkeypatch.setattr(query_turn, "_SECONDS", 0.1)
    environment = {"MOULIN_SLOTS": "1", "MOULIN_CATALOG_URI": numbers.properties["uri"]}
    environment["MOULIN_WAREHOUSE"] = numbers.properties["warehouse"]
    started = LocalWorker(worker.binary, tmp_path / "taken", env=environment)
    started.start()
    monkeypatch.setenv("AIRFLOW_CONN_TAKEN", f"moulin://{started.address}")
    try:
        with Client(started.address) as client:
            many = QueryRows(client.connection, command=f"SELECT a.id, repeat('x', 1000) AS x FROM {joined(14)}")
            batches = iter(many)
            assert next(batches).num_rows
            yield many
    finally:
        started.stop_all()


def test_a_query_has_its_turn_when_a_busy_worker_has_ended_another(taken, monkeypatch):
    told: queue.Queue[MoulinError] = queue.Queue()
    pause = query_turn.Turn.pause

    def heard(self, error):
        told.put(error)
        return pause(self, error)

    monkeypatch.setattr(query_turn.Turn, "pause", heard)
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(result, deferrable, moulin_conn_id="taken") for deferrable in (False, True)]
        # The worker takes half a minute to refuse one.
        assert all(is_busy(told.get(timeout=100)) for _ in asked)
        taken.cancel()
        assert [one.result(100)["row_count"] for one in asked] == [3, 3]


def test_time_that_is_up_ends_the_wait_for_busy_workers(refused):
    refused(10**9, BUSY)
    operator = ask(deferrable=True, execution_timeout=timedelta(milliseconds=300))
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute({})
    assert fired(deferred.value) == {"status": "timeout"}


def test_a_file_is_a_template(tmp_path):
    (tmp_path / "late.sql").write_text("SELECT '{{ day }}'")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    with DAG("d", schedule=None, start_date=begin, template_searchpath=[str(tmp_path)]):
        operator = ask("late.sql")
    operator.resolve_template_files()
    operator.render_template_fields({"day": "monday"})
    assert operator.sql == "SELECT 'monday'"


def test_a_query_may_be_built_and_its_connection_be_a_template():
    operator = ask(sql("SELECT '{{ day }}'"), moulin_conn_id="of_{{ day }}")
    operator.render_template_fields({"day": "monday"})
    assert (operator.sql, operator.moulin_conn_id) == ("SELECT 'monday'", "of_monday")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**62 + 1, 2**62 + 1),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Decimal("0.00000001"), "0.00000001"),
        (date(2026, 1, 31), "2026-01-31"),
        (time(8, 30), "08:30:00"),
        (datetime(2026, 1, 31, 8, tzinfo=UTC), "2026-01-31T08:00:00+00:00"),
        (timedelta(seconds=90, microseconds=5), "90.000005"),
        (b"\x00\xff", "AP8="),
        ({"a": [Decimal(1), b""]}, {"a": ["1", ""]}),
        ([(1, date(2026, 1, 1))], [[1, "2026-01-01"]]),
    ],
)
def test_values_are_json(value, expected):
    found = json_value(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_the_bytes_that_count_are_those_of_the_json():
    batch = pa.RecordBatch.from_pylist([{"a": "é"}, {"a": "b"}])
    size = len(json.dumps(batch.to_pylist()))
    assert SmallRows(10, size + 2).take(batch)
    assert not SmallRows(10, size - 1).take(batch)
