//! Files that are made to hurt are refused with a code, or read; neither takes longer than their size says.

use moulin_core::{Fault, FaultKind, NdjsonFormat};

use super::*;

fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn ndjson() -> Format {
    Format::Ndjson(NdjsonFormat::default())
}

#[test]
fn a_million_columns_are_refused() {
    let header: String = (0..1_000_000).map(|n| format!("c{n},")).collect();
    let (_dir, path) = file("a.csv", &format!("{header}end\n1\n"));
    let error = on_runtime(schema_of(&source(&path, csv(), &[]))).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("1000001 columns") && text.contains("limits.columns"), "{text}");
    assert_eq!(Fault::from(error).kind, FaultKind::BadFile);
}

#[test]
fn a_row_of_a_million_fields_is_one_bad_row() {
    let (_dir, path) = file("a.csv", &format!("a,b\n1,2\n{}\n3,4\n", ",".repeat(1_000_000)));
    let outcome = on_runtime(read(&source(&path, csv(), &[]), OnBadRow::Skip)).unwrap();
    assert_eq!((outcome.rows.len(), outcome.codes()), (2, vec!["csv.columns"]));
}

#[test]
fn as_many_columns_as_are_allowed_are_read() {
    let names: Vec<String> = (0..20_000).map(|n| format!("c{n}")).collect();
    let row = vec!["7"; 20_000].join(",");
    let (_dir, path) = file("a.csv", &format!("{}\n{row}\n{row}\n", names.join(",")));
    let outcome = on_runtime(read(&source(&path, csv(), &[]), OnBadRow::Fail)).unwrap();
    assert_eq!((outcome.rows.len(), outcome.rows[1].len(), outcome.rows[1][19_999].as_str()), (2, 20_000, "7"));
}

#[test]
fn an_object_of_a_hundred_thousand_keys_is_refused_or_read_in_time() {
    let keys: String = (0..100_000).map(|n| format!("\"k{n}\":{n},")).collect();
    let (_dir, path) = file("a.ndjson", &format!("{{{keys}\"a\":1}}\n{{\"a\":2}}\n"));
    // Declared columns do not care for the other keys.
    let outcome = on_runtime(read(&source(&path, ndjson(), &[("a", "long")]), OnBadRow::Skip));
    match outcome {
        Ok(outcome) => assert_eq!(outcome.rows_read, 2),
        Err(error) => assert!(error.to_string().contains("limits.columns"), "{error}"),
    }
}

#[test]
fn nesting_without_end_is_one_bad_row() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(1_000_000), close.repeat(1_000_000));
        let unclosed = open.repeat(1_000_000);
        let text = format!("{{\"a\":1}}\n{{\"x\":{deep}}}\n{{\"x\":{unclosed}\n{{\"a\":2}}\n");
        let (_dir, path) = file("a.ndjson", &text);
        let outcome = on_runtime(read(&source(&path, ndjson(), &[("a", "long")]), OnBadRow::Skip)).unwrap();
        assert_eq!((outcome.rows.len(), outcome.codes()), (2, vec!["json.depth"; 2]));
    }
}

#[test]
fn quotes_that_open_again_and_again_are_read_once() {
    // Each of these lines could be inside or outside of a quoted field.
    let (_dir, path) = file("a.csv", &format!("a,b\n{}", "\",\"\n".repeat(200_000)));
    let outcome = on_runtime(read(&source(&path, csv(), &[("a", "string"), ("b", "string")]), OnBadRow::Skip)).unwrap();
    assert!(outcome.rows_read > 0);
    let rejected = outcome.rows_read - outcome.rows.len() as u64;
    assert_eq!(rejected > 0, !outcome.rejects.is_empty());
}
