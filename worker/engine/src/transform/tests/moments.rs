//! What becomes of moments in nanoseconds.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use moulin_core::{Nanoseconds, Transform};

use super::super::{TransformOptions, prepare};
use super::rows::{Ran, flights, options, run, run_prepared};
use crate::Error;

/// The flights with their hours in nanoseconds, the first of them `more` later.
fn flights_in_nanoseconds(more: i64) -> RecordBatch {
    let (flights, schema) = (flights(), flights().schema());
    let columns = schema.fields().iter().zip(flights.columns()).map(|(field, column)| {
        let Some(hours) = column.as_primitive_opt::<TimestampMicrosecondType>() else {
            return (field.name().clone(), Arc::clone(column), true);
        };
        let mut hours: Vec<i64> = hours.values().iter().map(|micros| micros * 1_000).collect();
        hours[0] += more;
        let hours: ArrayRef = Arc::new(TimestampNanosecondArray::from(hours).with_timezone("UTC"));
        (field.name().clone(), hours, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
}

async fn polars(rows: RecordBatch, nanoseconds: Nanoseconds) -> Result<Ran, Error> {
    let plan = include_bytes!("../../../fixtures/untouched.plan").to_vec();
    let transform = Transform::Polars { plan, polars_version: "1.41.2".to_owned() };
    let options = TransformOptions { nanoseconds, ..options(256 << 20) };
    let prepared = prepare(Some(&transform), &rows.schema(), options).await?;
    run_prepared(prepared, vec![Ok(rows)]).await
}

#[tokio::test]
async fn a_polars_plan_is_given_whole_microseconds() {
    let hours = |ran: Ran| ran.batch.column(5).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    let exact = flights().column(5).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    let whole = polars(flights_in_nanoseconds(0), Nanoseconds::Refuse).await.unwrap();
    assert_eq!(hours(whole), exact);
    let error = polars(flights_in_nanoseconds(1), Nanoseconds::Refuse).await.map(hours).unwrap_err().to_string();
    assert!(error.contains("column `time_hour` has a moment that is not whole microseconds"), "{error}");
    let mut floored = exact;
    floored[0] -= 1;
    assert_eq!(hours(polars(flights_in_nanoseconds(-1), Nanoseconds::Floor).await.unwrap()), floored);
}

#[tokio::test]
async fn sql_hands_nanoseconds_on() {
    let query = Transform::Sql("SELECT time_hour FROM input WHERE id = 1".to_owned());
    let given = flights_in_nanoseconds(1);
    let hours = given.column(5).as_primitive::<TimestampNanosecondType>().value(0);
    let ran = run(query, vec![given], 64 << 20).await.unwrap();
    assert_eq!(ran.batch.column(0).as_primitive::<TimestampNanosecondType>().values()[..], [hours]);
}

#[tokio::test]
async fn now_is_whole_microseconds() {
    for query in ["SELECT now() AS t FROM input", "SELECT current_timestamp AS t FROM input"] {
        let ran = run(Transform::Sql(query.to_owned()), vec![flights()], 64 << 20).await.unwrap();
        let column = ran.batch.column(0);
        assert!(matches!(column.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)));
        let moments = column.as_primitive::<TimestampNanosecondType>();
        assert!(moments.values().iter().all(|ns| *ns > 0 && ns % 1_000 == 0), "{moments:?}");
    }
}
