//! Parquet: columns that are declared as another type, columns that the schema does not have, limits.

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray, StringViewArray,
};
use arrow::datatypes::Int64Type;
use moulin_core::{ColumnText, Contract, ContractMode, Fault, FaultKind, ReadLimits};

use super::parquet::write;
use super::rejects::quarantined;
use super::*;
use crate::{Comparison, Condition, Literal, Test};

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// A file, and a source of it.
fn file(columns: Vec<(&str, ArrayRef)>, declared: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, columns, 3);
    let source = source(&path, Format::Parquet, declared);
    (dir, source)
}

fn contract(columns: ContractMode, types: ContractMode) -> Contract {
    Contract { columns, types, ..Contract::default() }
}

#[test]
fn texts_are_read_as_is_said_of_their_column() {
    let (_dir, mut source) = file(
        vec![
            ("day", texts(&[Some("29.02.2024"), Some("-"), None])),
            ("price", Arc::new(StringViewArray::from(vec!["1.234,5", "0,01", "-7"]))),
            ("ok", texts(&[Some("ja"), Some("nein"), Some("ja")])),
            ("at", texts(&[Some("2024-07-04T16:05:00"), None, Some("2024-07-04T16:05:00Z")])),
            ("name", texts(&[Some("NA"), Some("x"), Some("")])),
            ("id", texts(&[Some("1"), Some("-2"), Some("+3")])),
        ],
        &[
            ("day", "date"),
            ("price", "decimal(9,2)"),
            ("ok", "boolean"),
            ("at", "timestamptz"),
            ("name", "string"),
            ("id", "long"),
        ],
    );
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let usual = ColumnText::default;
    let said = [
        ColumnText { format: Some("%d.%m.%Y".into()), null_values: words(&["-"]), ..usual() },
        ColumnText { decimal_separator: Some(b','), thousands_separator: Some(b'.'), ..usual() },
        ColumnText { true_values: words(&["ja"]), false_values: words(&["nein"]), ..usual() },
        ColumnText { timezone: Some("Europe/Berlin".into()), ..usual() },
        ColumnText { null_values: words(&["NA"]), ..usual() },
        usual(),
    ];
    source.columns.iter_mut().zip(said).for_each(|(column, text)| column.text = text);
    let outcome = on_runtime(read(&source, OnBadRow::Fail)).unwrap();
    assert_eq!(
        outcome.rows,
        [
            ["2024-02-29", "1234.50", "true", "2024-07-04T14:05:00Z", "NULL", "1"],
            ["NULL", "0.01", "false", "NULL", "x", "-2"],
            ["NULL", "-7.00", "true", "2024-07-04T16:05:00Z", "", "3"],
        ]
    );
}

#[test]
fn what_is_said_of_texts_is_refused_where_there_are_none() {
    let (_dir, mut source) = file(vec![("n", longs(&[1]))], &[("n", "long")]);
    source.columns[0].text.null_values = vec!["0".to_owned()];
    let error = on_runtime(described(&source)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("a.parquet is long, and not written as text: formats"), "{text}");
    assert_eq!(Fault::from(error).kind, FaultKind::InvalidSpec);
}

/// Two bad values in the third row, one in the fifth.
fn with_bad_values() -> (tempfile::TempDir, Source) {
    file(
        vec![
            ("a", texts(&[Some("1"), Some("2"), Some("x"), None, Some("5"), Some("6")])),
            ("b", longs(&[1, 2, 3_000_000_000, 4, 5, 6])),
            ("c", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, -0.0, 5.5, 1e9]))),
            ("d", longs(&[1, 2, 3, 4, 5, 6])),
        ],
        &[("a", "long"), ("b", "int"), ("c", "long")],
    )
}

#[test]
fn a_value_that_is_none_of_its_type_makes_a_bad_row_with_its_number_and_text() {
    let (_dir, source) = with_bad_values();
    let (outcome, rejects) = on_runtime(quarantined(&source, options(OnBadRow::Quarantine)));
    let outcome = outcome.unwrap();
    assert_eq!(
        outcome.rows,
        [["1", "1", "1", "1"], ["2", "2", "2", "2"], ["NULL", "4", "0", "4"], ["6", "6", "1000000000", "6"]]
    );
    assert_eq!(
        rejects,
        [(3, 0, 0, 1, "type.long".to_owned(), b"x".to_vec()), (5, 0, 0, 3, "type.long".to_owned(), b"5.5".to_vec()),]
    );
    assert_eq!((outcome.rows_read, outcome.rejects[0].reason.as_str()), (6, "field a has value `x`, expected long"));
}

#[test]
fn the_verdict_on_a_row_does_not_depend_on_what_is_asked_for() {
    let (_dir, source) = with_bad_values();
    let all = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    for names in [vec!["d"], vec!["c", "a"], vec![], vec!["b"]] {
        let counters = Arc::new(Counters::default());
        let condition = Condition { column: "d".into(), test: Test::Compare(Comparison::Equal, Literal::Long(1)) };
        let options = ReadOptions {
            projection: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            conditions: vec![condition],
            counters: Arc::clone(&counters),
            ..options(OnBadRow::Skip)
        };
        let batches: Vec<RecordBatch> = on_runtime(async {
            let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
            let files = fetcher.list(&source.uris).await.unwrap();
            let schema = schema(&fetcher, &source, &files).await.unwrap();
            batches(&fetcher, &source, &files, &schema, options).try_collect().await.unwrap()
        });
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 4, "{names:?}");
        assert_eq!((counters.rejects(), counters.snapshot().rows_read), (all.rejects.clone(), 6), "{names:?}");
    }
}

#[test]
fn a_contract_leaves_values_out_or_freezes_the_job() {
    let (_dir, mut source) = with_bad_values();
    source.contract = contract(ContractMode::Evolve, ContractMode::DiscardValue);
    source.rescued_column = Some("_rescued".to_owned());
    let outcome = on_runtime(read(&source, OnBadRow::Fail)).unwrap();
    assert_eq!(outcome.rows[2], ["NULL", "NULL", "3", "3", r#"{"a":"x","b":"3000000000"}"#]);
    assert_eq!(outcome.rows[4], ["5", "5", "NULL", "5", r#"{"c":"5.5"}"#]);
    assert_eq!((outcome.rows_read, outcome.rows[5][4].as_str()), (6, "NULL"));
    source.contract = contract(ContractMode::Evolve, ContractMode::Freeze);
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err();
    assert!(matches!(&error, Error::BadRow(reject) if reject.place.record == 3), "{error}");
}

#[test]
fn nested_values_that_cannot_be_cast_are_bad_too() {
    let list = |items: &[&[i64]]| {
        let items = items.iter().map(|items| Some(items.iter().map(|item| Some(*item)).collect::<Vec<_>>()));
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(items)) as ArrayRef
    };
    let (_dir, source) = file(vec![("l", list(&[&[1], &[2, 1 << 40], &[]]))], &[("l", "list<int>")]);
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!((outcome.rows.len(), outcome.codes()), (2, vec!["type.nested"]));
    assert_eq!(outcome.rejects[0].reason, "field l has value `[2,1099511627776]`, expected list<int>");
}

#[test]
fn columns_that_are_not_declared_go_where_the_contract_says() {
    let columns = || {
        vec![
            ("a", longs(&[1, 2, 3])),
            ("x", texts(&[None, Some("q\"q"), None])),
            ("y", Arc::new(BooleanArray::from(vec![None, None, Some(true)])) as ArrayRef),
        ]
    };
    let (_dir, mut source) = file(columns(), &[("a", "long")]);
    assert_eq!(on_runtime(described(&source)).unwrap(), "a long declared, x string file, y boolean file");
    source.contract = contract(ContractMode::DiscardValue, ContractMode::Evolve);
    assert_eq!(on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows, [["1"], ["2"], ["3"]]);
    source.rescued_column = Some("_rescued".to_owned());
    let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
    assert_eq!(rows, [["1", "NULL"], ["2", r#"{"x":"q\"q"}"#], ["3", r#"{"y":"true"}"#]]);
    source.contract = contract(ContractMode::DiscardRow, ContractMode::Evolve);
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!((outcome.rows.len(), outcome.codes()), (1, vec!["contract.column"; 2]));
    source.contract = contract(ContractMode::Freeze, ContractMode::Evolve);
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err();
    assert!(error.to_string().contains("a.parquet has a column `x` that the schema does not have"), "{error}");
    assert_eq!(Fault::from(error).kind, FaultKind::SchemaMismatch);
}

#[test]
fn a_later_file_may_have_more_columns_when_it_is_said_what_becomes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.parquet"), vec![("a", longs(&[1]))], 3);
    write(&dir.path().join("b.parquet"), vec![("x", longs(&[2])), ("a", longs(&[3]))], 3);
    let mut source = source(&dir.path().join("*.parquet"), Format::Parquet, &[]);
    source.rescued_column = Some("_rescued".to_owned());
    assert_eq!(on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows, [["1", "NULL"], ["3", r#"{"x":"2"}"#]]);
}

#[test]
fn limits_are_kept_by_the_footer() {
    let wide = || file(vec![("a", longs(&[1])), ("b", Arc::new(Int32Array::from(vec![1])) as ArrayRef)], &[]);
    for (limits, reason) in [
        (ReadLimits { columns: 1, ..ReadLimits::default() }, "it has 2 columns, and limits.columns allows 1"),
        (ReadLimits { inflated_bytes: Some(3), ..ReadLimits::default() }, "more than limits.inflated_bytes = 3"),
    ] {
        let (_dir, mut source) = wide();
        source.limits = limits;
        let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err();
        assert!(error.to_string().ends_with(reason), "{error}");
        assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
    }
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])]);
    let (_dir, mut source) = file(vec![("l", Arc::new(list) as ArrayRef)], &[]);
    source.limits.depth = 0;
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err().to_string();
    assert!(error.ends_with("its types have 1 levels, and limits.depth allows 0"), "{error}");
}
