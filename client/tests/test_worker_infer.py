"""What a real worker says of a sample, of its options, and of the rows that it left out."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from conftest import ROWS
from local_stack.worker import LocalWorker

import moulin
from moulin import JobSpec, csv, iceberg
from moulin.source import FORMATS

# Enough rows that the bad ones stand behind the sample.
SAMPLE = {"sample_rows": 100}


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A thousand rows of two numbers, then a text where a number belongs, and a row with a field too many."""
    path = tmp_path / "bad.csv"
    path.write_text("id,n\n" + "".join(f"{n},{n}\n" for n in range(ROWS)) + "x,1\n7,8,9\n")
    return path


def test_a_sample_says_why_each_column_has_its_type(client: moulin.Client, people: Path) -> None:
    found = client.infer(csv(people, null_values=["NA"], columns={"score": "decimal(9,2)"}))
    assert [(one.name, one.type, one.origin) for one in found.columns] == [
        ("id", "long", "inferred"),
        ("name", "string", "inferred"),
        ("score", "decimal(9,2)", "declared"),
        ("since", "date", "inferred"),
    ]
    number = found.columns[0]
    assert (number.values, number.nulls, number.min, number.max) == (found.rows, 0, "0", str(ROWS - 1))
    assert found.columns[2].nulls == ROWS / 10
    assert all(one.reason for one in found.columns if one.origin == "inferred")
    assert "why" in str(found)
    assert client.infer({"uris": [str(people)], "format": "csv"}).rows == ROWS


async def test_a_sample_is_the_same_in_asyncio(worker: LocalWorker, client: moulin.Client, people: Path) -> None:
    async with moulin.AsyncClient(worker.address) as aclient:
        assert await aclient.infer(csv(people)) == client.infer(csv(people))


def test_a_source_that_is_wrong_is_refused_before_it_is_read(client: moulin.Client) -> None:
    with pytest.raises(moulin.NotFound, match=r"nowhere\.csv"):
        client.infer(csv("/nowhere.csv"))
    with pytest.raises(moulin.SpecTypeError, match=r"source: .* expected csv\(...\)"):
        client.infer("a.csv")  # type: ignore[arg-type]


def test_a_plan_says_every_option_and_whether_it_was_declared(client: moulin.Client, people: Path) -> None:
    source = csv(people, null_values=["NA"], inference=SAMPLE)
    options = {one.name: one for one in client.plan(JobSpec(source=source, target=iceberg("a.b"))).options}
    assert options["csv.null_values"].origin == options["inference.sample_rows"].origin == "declared"
    assert options["inference.sample_rows"].value == "100"
    assert {one.origin for one in options.values()} == {"declared", "default"}
    assert {f"csv.{field.name}" for field in fields(FORMATS["csv"])} <= set(options)


def test_a_default_is_the_same_here_and_there(client: moulin.Client, people: Path) -> None:
    options = client.plan(JobSpec(source=csv(people), target=iceberg("a.b"))).options
    groups = {"csv": moulin.CsvFormat(), "limits": moulin.ReadLimits(), "inference": moulin.Inference()}
    compared = 0
    for option in options:
        group, _, name = option.name.rpartition(".")
        if group not in groups:
            continue
        here = getattr(groups[group], name)
        if here is not None and here != ():
            compared += 1
            assert option.value == (str(here).lower() if isinstance(here, bool) else str(here)), option.name
    assert compared > 20


def test_rows_that_were_left_out_can_be_read_again(client: moulin.Client, bad: Path, table: str) -> None:
    spec = JobSpec(source=csv(bad, inference=SAMPLE), target=iceberg(table), on_bad_row="quarantine")
    handle = client.submit(spec).wait(60)
    assert handle.receipt is not None
    assert handle.receipt.rows_rejected == 2
    rejects = handle.rejects().read_all().to_pylist()
    assert [(one["code"], one["record"], one["raw"]) for one in rejects] == [
        ("type.long", ROWS + 1, b"x,1"),
        ("csv.field_count", ROWS + 2, b"7,8,9"),
    ]
    assert client.rejects(handle.job_id).read_all() == client.rejects(handle.job).read_all()


async def test_rejects_are_read_in_asyncio(worker: LocalWorker, bad: Path, table: str) -> None:
    spec = JobSpec(source=csv(bad, inference=SAMPLE), target=iceberg(table), on_bad_row="quarantine")
    async with moulin.AsyncClient(worker.address) as client:
        handle = await (await client.submit(spec)).wait(60)
        assert sum([batch.num_rows async for batch in handle.rejects()]) == 2


def test_a_job_that_keeps_no_rejects_says_so(client: moulin.Client, bad: Path, table: str) -> None:
    spec = JobSpec(source=csv(bad, inference=SAMPLE), target=iceberg(table), on_bad_row="skip")
    handle = client.submit(spec).wait(60)
    with pytest.raises(moulin.NotFound, match="keeps no rejects"):
        handle.rejects()


@pytest.mark.parametrize("bound", [{"max_bad_rows": 1}, {"max_bad_ratio": 0.001}], ids=str)
def test_too_many_bad_rows_fail_the_job(client: moulin.Client, bad: Path, table: str, bound: dict[str, float]) -> None:
    spec = JobSpec.from_dict(
        {
            "source": csv(bad, inference=SAMPLE).to_dict(),
            "target": {"table": table},
            "on_bad_row": "skip",
            **bound,
        }
    )
    with pytest.raises(moulin.JobFailed, match=next(iter(bound))) as failed:
        client.submit(spec).wait(60)
    assert failed.value.kind is moulin.FaultKind.BAD_ROW
