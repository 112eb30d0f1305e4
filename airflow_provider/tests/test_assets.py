"""Iceberg tables as assets: one spelling, what their events say, and the datasets that they are for OpenLineage."""

from __future__ import annotations

import json

import attrs
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk import Asset
from airflow.serialization.serialized_objects import BaseSerialization
from airflow_names import ProvidersManagerTaskRuntime

from moulin_provider.assets import (
    asset_uri,
    assets_of,
    convert_asset_to_openlineage,
    event_extra,
    iceberg_asset,
    sanitize_uri,
    table_of,
)


@pytest.mark.parametrize(
    "written",
    [
        "iceberg://moulin/bronze/flights",
        "ICEBERG://moulin/bronze/flights/",
        "iceberg://moulin/bronze.flights",
        "iceberg://moulin/bronze/flights#part",
    ],
)
def test_one_table_has_one_spelling(written):
    assert Asset(uri=written).uri == asset_uri("bronze.flights") == "iceberg://moulin/bronze/flights"


@pytest.mark.parametrize(
    "written",
    [
        "iceberg:///bronze/flights",
        "iceberg://moulin/flights",
        "iceberg://moulin",
        "iceberg://moulin/bronze//flights",
        "iceberg://moulin/bronze/../flights",
        "iceberg://moulin/bronze/flights?snapshot=1",
        "iceberg://moulin/bronze/my flights",
        "iceberg://user@moulin/bronze/flights",
    ],
)
def test_nonsense_is_no_table(written):
    with pytest.raises(ValueError, match="expected iceberg://catalog/namespace/table"):
        Asset(uri=written)


def test_the_handler_is_the_one_that_airflow_asks():
    assert ProvidersManager().asset_uri_handlers["iceberg"] is sanitize_uri
    runtime = ProvidersManagerTaskRuntime()
    assert runtime.asset_uri_handlers["iceberg"] is sanitize_uri
    assert runtime.asset_factories["iceberg"] is iceberg_asset
    assert runtime.asset_to_openlineage_converters["iceberg"] is convert_asset_to_openlineage


def test_an_asset_is_one_table_of_one_namespace():
    assert iceberg_asset("bronze.flights").uri == asset_uri("bronze.flights")
    assert table_of("iceberg://lake/old/bronze/flights") == ("lake", "old.bronze.flights")
    with pytest.raises(ValueError, match="expected iceberg://"):
        table_of("s3://lake/flights")
    outlets = [iceberg_asset("bronze.flights"), iceberg_asset("old.bronze.flights"), "something else"]
    assert [asset.name for asset in assets_of("bronze.flights", outlets)] == ["moulin.bronze.flights"]
    with pytest.raises(ValueError, match="expected iceberg://"):
        iceberg_asset("flights")


@pytest.mark.parametrize("table", ["bronze.flights", "bronze.Flüge"])
def test_an_asset_is_what_airflow_itself_would_make(table):
    extra = {"owner": "ops"}
    ours = iceberg_asset(table, extra=extra)
    theirs = Asset(name=f"moulin.{table}", uri=asset_uri(table), extra=extra)
    assert ours == theirs
    assert attrs.asdict(ours, recurse=False).keys() == attrs.asdict(theirs, recurse=False).keys()
    assert BaseSerialization.serialize(ours) == BaseSerialization.serialize(theirs)
    other = iceberg_asset(table)
    assert other.extra == {}
    for field in attrs.fields(Asset):
        value = getattr(other, field.name)
        assert isinstance(value, str) or value is not getattr(iceberg_asset(table), field.name), field.name


def test_an_asset_is_the_dataset_that_the_task_names():
    dataset = convert_asset_to_openlineage(iceberg_asset("bronze.flights", catalog="lake"), None)
    assert (dataset.namespace, dataset.name) == ("iceberg://lake", "bronze.flights")


def test_an_event_keeps_all_digits_of_an_id(make_receipt):
    extra = json.loads(json.dumps(event_extra(make_receipt())))
    assert extra == {
        "job_id": "job-00000000000000000000",
        "table": "bronze.flights",
        "snapshot_id": str(2**62 + 1),
        "files": 1,
        "rows_landed": 215_941,
        "rows_rejected": 0,
        "rows_replaced": 0,
    }
