//! Columns that a CSV file has and the schema has not.

use moulin_core::{Contract, ContractMode, CsvFormat, Fault, FaultKind};
use proptest::prelude::*;

use super::csv_dialect::{TEXTS, reader_of_source};
use super::*;

fn contract(columns: ContractMode) -> Contract {
    Contract { columns, ..Contract::default() }
}

/// A source of files in a folder, which have these texts.
fn files(texts: &[&str], declared: &[(&str, &str)], columns: ContractMode) -> (tempfile::TempDir, Source) {
    let dir = tempfile::tempdir().unwrap();
    for (number, text) in texts.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{number}.csv")), text).unwrap();
    }
    let mut source = source(&dir.path().join("*.csv"), csv(), declared);
    source.contract = contract(columns);
    (dir, source)
}

const DECLARED: [(&str, &str); 2] = [("b", "long"), ("a", "string")];
const TEXT: &str = "a,x,b,y\n1,,2,\n3,\"p, \"\"q\"\"\",4,z\n5,NULL,bad,\n6,\"\",7,\n";

#[test]
fn without_a_contract_columns_that_are_not_declared_are_inferred() {
    let (_dir, source) = files(&["a,x\n1,2\n"], &[("a", "string")], ContractMode::Evolve);
    assert_eq!(on_runtime(described(&source)).unwrap(), "a string declared, x long inferred");
}

#[test]
fn discarded_columns_are_left_out_or_rescued() {
    let (_dir, mut source) = files(&[TEXT], &DECLARED, ContractMode::DiscardValue);
    let Format::Csv(format) = &mut source.format else { panic!() };
    format.null_values.push("NULL".to_owned());
    assert_eq!(on_runtime(described(&source)).unwrap(), "a string declared, b long declared");
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!(
        (outcome.codes(), outcome.rows.clone()),
        (
            vec!["type.long"],
            vec![
                vec!["1".to_owned(), "2".to_owned()],
                vec!["3".to_owned(), "4".to_owned()],
                vec!["6".to_owned(), "7".to_owned()],
            ]
        )
    );
    source.rescued_column = Some("_rescued".to_owned());
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    let rescued: Vec<&str> = outcome.rows.iter().map(|row| row[2].as_str()).collect();
    // An empty field and a null value are nothing; the empty text in quotes is one.
    assert_eq!(rescued, ["NULL", r#"{"x":"p, \"q\"","y":"z"}"#, r#"{"x":""}"#]);
}

#[test]
fn rows_with_values_in_discarded_columns_are_bad_rows() {
    let (_dir, source) = files(&[TEXT], &DECLARED, ContractMode::DiscardRow);
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!(outcome.rows, [["1", "2"]]);
    assert_eq!(outcome.codes(), ["contract.column"; 3]);
    let reject = &outcome.rejects[0];
    assert_eq!((reject.place.record, reject.place.line, reject.place.column.as_str()), (2, 3, "x"));
    assert_eq!(reject.reason, "row has a value in `x`, which is no column, and contract.columns is discard_row");
}

#[test]
fn a_frozen_schema_takes_no_column_of_any_file_whatever_bad_files_do() {
    let refused = |texts: &[&str], declared: &[(&str, &str)]| {
        let (_dir, mut source) = files(texts, declared, ContractMode::Freeze);
        source.on_bad_file = moulin_core::OnBadFile::Skip;
        let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err();
        let text = error.to_string();
        assert_eq!(Fault::from(error).kind, FaultKind::SchemaMismatch, "{text}");
        text.rsplit_once('/').unwrap().1.to_owned()
    };
    let reason = "has a column `x` that the schema does not have, and source.contract.columns is freeze";
    assert_eq!(refused(&["a,x\n1,2\n"], &[("a", "string")]), format!("0.csv {reason}"));
    assert_eq!(refused(&["a\n1\n", "x,a\n1,2\n"], &[]), format!("1.csv {reason}"));
}

#[test]
fn a_later_file_may_have_more_columns_when_it_is_said_what_becomes_of_them() {
    let texts = ["a\n1\n", "x,a\n2,3\n"];
    let (_dir, mut source) = files(&texts, &[], ContractMode::Evolve);
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err().to_string();
    assert!(error.contains("1.csv has a column `x` that the first file does not have"), "{error}");
    source.contract = contract(ContractMode::DiscardValue);
    assert_eq!(on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows, [["1"], ["3"]]);
    source.contract = contract(ContractMode::DiscardRow);
    assert_eq!(on_runtime(read(&source, OnBadRow::Skip)).unwrap().codes(), ["contract.column"]);
    source.contract = Contract::default();
    source.rescued_column = Some("_rescued".to_owned());
    assert_eq!(on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows, [["1", "NULL"], ["3", r#"{"x":"2"}"#]]);
    source.rescued_column = Some("a".to_owned());
    let error = on_runtime(read(&source, OnBadRow::Fail)).unwrap_err().to_string();
    assert_eq!(error, "column `a` is in the files, and source.rescued_column is called so too");
}

#[test]
fn columns_without_a_header_are_left_out_by_their_place() {
    let (_dir, mut source) = files(&["1,2,3\n4,5,6\n"], &[("column_3", "long")], ContractMode::DiscardValue);
    source.format = Format::Csv(CsvFormat { header: false, ..CsvFormat::default() });
    assert_eq!(on_runtime(described(&source)).unwrap(), "column_3 long declared");
    assert_eq!(on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows, [["3"], ["6"]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(500)))]

    /// The verdict on a row, and what is read of it, are the same however fields that have no column are passed over.
    #[test]
    fn left_out_fields_are_passed_over_alike(
        rows in prop::collection::vec(("[a-z]{0,3}", "[a-z]{0,3}|NA|\"([a-z,\n]|\"\"){0,4}\"|\"a\"b", "[a-z]{0,3}|\"x\""), 0..30),
        block in 12_usize..200,
        window in 0_usize..300,
        rescues in any::<bool>(),
        mode in prop_oneof![Just(ContractMode::DiscardRow), Just(ContractMode::DiscardValue)],
    ) {
        let format = CsvFormat { null_values: vec!["NA".to_owned()], ..CsvFormat::default() };
        let mut source = Source { columns: columns(&TEXTS), ..Source::new(Vec::new(), Format::Csv(format.clone())) };
        source.contract = contract(mode);
        source.rescued_column = rescues.then(|| "_rescued".to_owned());
        let text: String = rows.iter().map(|(a, x, b)| format!("{a},{x},{b}\n")).collect();
        let text = format!("a,x,b\n{text}");
        let whole = read_serially(&reader_of_source(&source, &format).with_window(0), text.as_bytes(), 1 << 20).unwrap();
        let split = read_serially(&reader_of_source(&source, &format).with_window(window), text.as_bytes(), block).unwrap();
        prop_assert_eq!(split, whole);
    }
}

#[test]
fn what_a_bad_row_would_have_rescued_is_none_of_the_next() {
    let mut source = Source { columns: columns(&DECLARED), ..Source::new(Vec::new(), csv()) };
    source.contract.types = ContractMode::DiscardValue;
    source.rescued_column = Some("_rescued".to_owned());
    let reader = reader_of_source(&source, &CsvFormat::default());
    let outcome = read_serially(&reader, b"b,a\nx,\xff\n1,ok\ny,fine\n", 1 << 16).unwrap();
    assert_eq!(outcome.codes(), ["utf8"]);
    assert_eq!(outcome.rows, [["1", "ok", "NULL"], ["NULL", "fine", "{\"b\":\"y\"}"]]);
}

#[test]
fn a_value_of_another_type_fails_the_job_where_types_are_frozen() {
    let (_dir, mut source) = files(&["a,b\nx,1\ny,two\n"], &DECLARED, ContractMode::Evolve);
    source.contract.types = ContractMode::Freeze;
    let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err();
    assert!(error.to_string().starts_with("field b has value `two`, expected long ("), "{error}");
}
