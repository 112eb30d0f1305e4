//! Plans made by Python Polars; `fixtures/make_plans.py` says what is in each.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use moulin_core::{Fault, FaultKind, Transform};

use super::super::{prepare, versions};
use super::rows::{Ran, flights, flights_in_two, options, prepared, run, run_prepared};
use crate::Error;

macro_rules! plan {
    ($name:literal) => {
        Transform::Polars {
            plan: include_bytes!(concat!("../../../fixtures/", $name, ".plan")).to_vec(),
            polars_version: "1.41.2".to_owned(),
        }
    };
}

#[tokio::test]
async fn a_filter_with_a_new_column_runs_row_by_row() {
    let ran = polars(plan!("filter_with_columns")).await.unwrap();
    assert!(ran.row_wise);
    assert_eq!((ran.rows_in, ran.rows_out), (4, 3));
    let names: Vec<_> = ran.batch.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["id", "origin", "dep_delay", "price", "day", "time_hour", "remark", "late"]);
    assert_eq!(ran.batch.column(7).as_boolean().iter().collect::<Vec<_>>(), [Some(true), None, Some(false)]);
}

#[tokio::test]
async fn rows_come_through_an_untouched_plan_with_types_and_nulls_as_they_were() {
    let ran = polars(plan!("untouched")).await.unwrap();
    assert!(ran.row_wise);
    assert_eq!(ran.batch.schema().fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>(), {
        flights().schema().fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>()
    });
    assert_eq!(ran.batch.columns(), flights().columns());
}

#[tokio::test]
async fn expressions_over_strings_dates_and_decimals_give_landable_types() {
    let ran = polars(plan!("strings_and_dates")).await.unwrap();
    assert!(ran.row_wise);
    let types: Vec<_> =
        ran.batch.schema().fields().iter().map(|f| moulin_read::iceberg_type_name(f.data_type())).collect();
    assert_eq!(types[..7], ["long", "string", "string", "int", "date", "timestamptz", "string"]);
    assert!(types[7].starts_with("decimal(") && types[8] == "boolean", "{types:?}");
    assert_eq!(ran.lines()[0], "1 ewr EWR-a b 1 2013-01-02 2013-01-01T00:00:00Z late 2.00 false");
    assert_eq!(ran.lines()[1], "2 jfk JFK-? 1 2013-01-02 2013-01-01T00:00:00Z late 5.00 true");
}

#[tokio::test]
async fn nested_and_categorical_columns_land_plain() {
    assert_eq!(polars(plan!("categories")).await.unwrap().lines(), ["1 EWR", "2 JFK", "3 JFK", "4 LGA"]);
    let ran = polars(plan!("lists")).await.unwrap();
    assert_eq!(moulin_read::iceberg_type_name(ran.batch.column(1).data_type()), "list<string>");
    assert_eq!(ran.lines(), ["1 [a, b]", "2", "3 [c]", "4 [7]"]);
    let ran = polars(plan!("structs")).await.unwrap();
    assert_eq!(moulin_read::iceberg_type_name(ran.batch.column(1).data_type()), "struct<origin: string, note: string>");
    assert_eq!(ran.lines()[3], "4 {origin: LGA, note: 7}");
}

#[tokio::test]
async fn plans_that_look_at_other_rows_see_all_of_them() {
    let ran = polars(plan!("group_by")).await.unwrap();
    assert!(!ran.row_wise);
    assert_eq!(ran.rows_in, 4);
    assert_eq!(moulin_read::iceberg_type_name(ran.batch.column(1).data_type()), "long");
    assert_eq!(ran.lines(), ["EWR 1 20.0 1.00", "JFK 2 30.5 6.49", "LGA 1 -3.0 0.01"]);

    let ran = polars(plan!("self_join")).await.unwrap();
    assert!(!ran.row_wise);
    let mut counted: Vec<_> = ran.batch.column(7).as_primitive::<Int64Type>().values().to_vec();
    counted.sort_unstable();
    assert_eq!(counted, [1, 1, 2, 2]);

    let ran = polars(plan!("running_total")).await.unwrap();
    assert!(!ran.row_wise && ran.lines()[3].ends_with("47.5"), "{}", ran.text());
    let ran = polars(plan!("over_window")).await.unwrap();
    assert!(!ran.row_wise && ran.lines()[2].ends_with("30.5"), "{}", ran.text());
    let ran = polars(plan!("head")).await.unwrap();
    assert!(!ran.row_wise && ran.rows_out == 2);
    let ran = polars(plan!("literals_only")).await.unwrap();
    assert!(!ran.row_wise && ran.rows_out == 1);
}

#[tokio::test]
async fn a_plan_over_no_rows_makes_no_rows() {
    let none: Vec<RecordBatch> = vec![flights().slice(0, 0)];
    for transform in [plan!("filter_with_columns"), plan!("group_by")] {
        let ran = run(transform, none.clone(), 1 << 20).await.unwrap();
        assert_eq!((ran.rows_in, ran.rows_out), (0, 0));
    }
}

#[tokio::test]
async fn columns_may_stand_in_another_order_than_in_the_plan() {
    let turned = flights().project(&[6, 5, 4, 3, 2, 1, 0]).unwrap();
    let ran = run(plan!("untouched"), vec![turned], 1 << 20).await.unwrap();
    assert_eq!(ran.batch.columns(), flights().columns());
    let ran = polars(plan!("dropped_column")).await.unwrap();
    assert!(ran.row_wise && ran.batch.num_columns() == 6);
    assert!(polars(plan!("after_collect_schema")).await.unwrap().row_wise);
}

#[tokio::test]
async fn python_functions_are_refused_with_what_to_write_instead() {
    for transform in
        [plan!("map_elements"), plan!("map_batches"), plan!("map_groups"), plan!("fold"), plan!("renamed_by_function")]
    {
        let text = refused(transform).await;
        assert!(text.contains("the plan calls Python") && text.contains("write it with Polars expressions"), "{text}");
    }
}

#[tokio::test]
async fn plans_that_read_something_else_are_refused() {
    for transform in [plan!("scan_csv"), plan!("scan_parquet_join")] {
        let text = refused(transform).await;
        assert!(text.contains("the plan scans or sinks files by itself"), "{text}");
    }
    let text = refused(plan!("own_rows")).await;
    assert!(text.contains("a frame of its own with 1 rows"), "{text}");
}

#[tokio::test]
async fn a_plan_of_another_polars_names_both_versions() {
    let Transform::Polars { plan, .. } = plan!("other_polars") else { unreachable!() };
    let text = refused(Transform::Polars { plan, polars_version: "1.35.2".to_owned() }).await;
    assert!(
        text.contains("made by Python polars 1.35.2") && text.contains("reads plans of Python polars 1.41.2"),
        "{text}"
    );
}

#[tokio::test]
async fn bytes_that_are_no_plan_are_refused() {
    let Transform::Polars { plan, .. } = plan!("group_by") else { unreachable!() };
    let broken = |plan: &[u8]| Transform::Polars { plan: plan.to_vec(), polars_version: String::new() };
    assert!(invalid(broken(b"{\"DataFrameScan\":{}}")).await.contains("is not a serialized LazyFrame"));
    assert!(invalid(broken(&plan[..40])).await.contains("is not a serialized LazyFrame"));
    assert!(invalid(broken(&plan[..plan.len() - 100])).await.contains("does not decode"));
}

#[tokio::test]
async fn a_plan_that_does_not_fit_the_rows_names_the_column() {
    let text = invalid(plan!("unknown_column")).await;
    assert!(text.contains("no column `arr_delay`") || text.contains("arr_delay"), "{text}");
    let text = invalid(plan!("other_schema")).await;
    assert!(text.contains("column `dep_delay` as i32, and the job's rows have it as f64"), "{text}");
    let text = invalid(plan!("missing_column")).await;
    assert!(text.contains("a column `gate`"), "{text}");
    let wider = flights()
        .schema()
        .fields()
        .iter()
        .cloned()
        .chain([Arc::new(Field::new("gate", DataType::Utf8, true))])
        .collect::<Vec<_>>();
    let wider: SchemaRef = Arc::new(Schema::new(wider));
    let text = prepared(plan!("untouched"), &wider).await.unwrap_err().to_string();
    assert!(text.contains("a column `gate` the plan was made without"), "{text}");
    assert!(invalid(plan!("duration")).await.contains("column `since` is a duration"));
}

#[tokio::test]
async fn a_value_that_does_not_cast_is_the_transforms_failure() {
    let error = polars(plan!("strict_cast")).await.err().unwrap();
    assert!(matches!(&error, Error::TransformFailed(text) if text.contains("conversion")), "{error:?}");
    assert_eq!(Fault::from(error).kind, FaultKind::Transform);
}

#[tokio::test]
async fn rows_that_must_be_held_and_do_not_fit_say_what_to_do() {
    let error = run(plan!("group_by"), flights_in_two(), 100).await.err().unwrap();
    assert!(
        matches!(&error, Error::Memory(text) if text.contains("SQL") && text.contains("job.memory_bytes")),
        "{error:?}"
    );
    // A row-wise plan holds none.
    run(plan!("filter_with_columns"), flights_in_two(), 100).await.unwrap();
}

#[tokio::test]
async fn an_error_of_the_input_passes_through_a_plan_unchanged() {
    for transform in [plan!("filter_with_columns"), plan!("group_by")] {
        let prepared = prepared(transform, &flights().schema()).await.unwrap();
        let lost = Error::Read(moulin_read::Error::FileNotFound { uri: "s3://raw/b.csv".into() });
        let error = run_prepared(prepared, vec![Ok(flights()), Err(lost)]).await.err().unwrap();
        assert!(matches!(error, Error::Read(moulin_read::Error::FileNotFound { .. })), "{error:?}");
    }
}

#[test]
fn a_panic_is_an_error_with_its_message() {
    let error = super::super::stage::contained::<()>(|| panic!("index {} out of bounds", 7)).unwrap_err();
    assert!(matches!(&error, Error::TransformFailed(text) if text == "panicked: index 7 out of bounds"), "{error:?}");
}

#[test]
fn versions_are_those_of_the_lock_file_and_the_stored_plans() {
    let lock = include_str!("../../../../../Cargo.lock");
    let versions = versions();
    for (package, version) in [("polars", versions.polars), ("datafusion", versions.datafusion)] {
        assert!(lock.contains(&format!("name = \"{package}\"\nversion = \"{version}\"")), "{package} {version}");
    }
    assert_eq!(versions.python_polars, include_str!("../../../fixtures/python_polars_version.txt").trim());
}

async fn polars(transform: Transform) -> Result<Ran, Error> {
    run(transform, flights_in_two(), 256 << 20).await
}

async fn refused(transform: Transform) -> String {
    match prepare(Some(&transform), &flights().schema(), options(1 << 20)).await {
        Err(Error::TransformRefused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

async fn invalid(transform: Transform) -> String {
    match prepare(Some(&transform), &flights().schema(), options(1 << 20)).await {
        Err(Error::TransformInvalid(text)) => text,
        other => panic!("not invalid: {other:?}"),
    }
}

#[tokio::test]
async fn a_plan_says_which_columns_and_rows_it_wants() {
    let table: [(Transform, &[&str]); 5] = [
        (plan!("wanted"), &["id", "origin", "day", "note"]),
        (plan!("lists"), &["id", "note"]),
        (plan!("dropped_column"), &["id", "origin", "dep_delay", "price", "day", "time_hour"]),
        (plan!("group_by"), &["origin", "dep_delay", "price"]),
        (plan!("after_collect_schema"), &[]),
    ];
    for (transform, columns) in table {
        let whole = run(transform.clone(), flights_in_two(), 1 << 26).await.unwrap();
        let prepared = prepared(transform, &flights().schema()).await.unwrap();
        let wanted = prepared.wanted().columns.unwrap_or_default();
        assert_eq!(wanted, columns);
        let narrow = |batch: RecordBatch| {
            if wanted.is_empty() {
                return batch;
            }
            let places: Vec<usize> = wanted.iter().map(|name| batch.schema().index_of(name).unwrap()).collect();
            batch.project(&places).unwrap()
        };
        let narrowed = flights_in_two().into_iter().map(|batch| Ok(narrow(batch))).collect();
        let ran = run_prepared(prepared, narrowed).await.unwrap();
        assert_eq!((ran.text(), ran.rows_in), (whole.text(), whole.rows_in));
    }
    let conditions = prepared(plan!("wanted"), &flights().schema()).await.unwrap().wanted().conditions;
    let found = conditions.iter().map(|condition| format!("{} {:?}", condition.column, condition.test));
    assert!(found.clone().any(|text| text == "id Compare(Greater, Long(2))"), "{conditions:?}");
    assert!(found.clone().any(|text| text == "note IsNotNull"), "{conditions:?}");
    let several = prepared(plan!("wanted_twice"), &flights().schema()).await.unwrap().wanted();
    assert_eq!(
        (several.columns.unwrap(), several.conditions),
        (vec!["id".to_owned()], Vec::new()),
        "of one of two leaves"
    );
    // Whether Polars makes a literal of `pl.date` is its own affair.
    assert!(found.count() >= 2);
}
