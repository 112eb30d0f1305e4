//! Dialects that are found, and what has no column of its own.

use moulin_core::{ContractMode, CsvFormat, Dialect, RaggedRows};

use super::*;

/// What is found of a file, and how its rows read then.
fn found(format: &CsvFormat, bytes: &[u8]) -> (String, Vec<Vec<String>>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(&path, bytes).unwrap();
    let source = source(&path, Format::Csv(CsvFormat { dialect: Dialect::Auto, ..format.clone() }), &[]);
    let schema = on_runtime(schema_of(&source)).unwrap();
    assert_eq!(on_runtime(schema_of(&source)).unwrap(), schema, "the second answer is another one");
    let options = schema.sample.sniffed.iter();
    let options = options.map(|option| format!("{}={}", option.name.trim_start_matches("csv."), option.value));
    let reasons = schema.sample.sniffed.iter().map(|option| option.reason.clone()).collect();
    let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
    (options.collect::<Vec<_>>().join(" "), rows, reasons)
}

#[track_caller]
fn check_found(bytes: &[u8], options: &str, first_row: &[&str]) {
    let (found, rows, _) = found(&CsvFormat::default(), bytes);
    assert_eq!(found, options);
    assert_eq!(rows[0], first_row);
}

#[test]
fn the_dialect_is_found_in_the_sample() {
    check_found(
        b"id,name,day\n1,\"Doe, John\",2024-01-01\n2,x,2024-01-02\n",
        "encoding=utf8 line_ending=auto delimiter=, quote=\" header=true",
        &["1", "Doe, John", "2024-01-01"],
    );
    check_found(
        b"id;price;text\r\n1;1,5;a, b, c\r\n2;2,5;d\r\n",
        "encoding=utf8 line_ending=auto delimiter=; quote=\" header=true",
        &["1", "1,5", "a, b, c"],
    );
    check_found(b"a\tb\r1\t2\r", "encoding=utf8 line_ending=cr delimiter=\\t quote=\" header=true", &["1", "2"]);
    check_found(
        b"1|'x|y'|2\n2|'it''s'|3\n",
        "encoding=utf8 line_ending=auto delimiter=| quote=' header=false",
        &["1", "x|y", "2"],
    );
    check_found(
        b"n,s\n1,\"say \\\"hi\\\", he said\"\n2,\"x\"\n",
        "encoding=utf8 line_ending=auto delimiter=, quote=\" escape=\\ header=true",
        &["1", "say \"hi\", he said"],
    );
    check_found(b"a||b\n1||2\n3||4\n", "encoding=utf8 line_ending=auto delimiter=|| quote=\" header=true", &["1", "2"]);
    check_found(
        b"size,n\n5\" x 3\",1\n\"7,2\n",
        "encoding=utf8 line_ending=auto delimiter=, quoting=false header=true",
        &["5\" x 3\"", "1"],
    );
    check_found(
        b"id, name, note\n1, \"Doe, John\", \"a, b\"\n2, x, y\n",
        "encoding=utf8 line_ending=auto delimiter=,  quote=\" header=true",
        &["1", "Doe, John", "a, b"],
    );
    check_found(
        b"id, name\n1, x\n2, y\n",
        "encoding=utf8 line_ending=auto delimiter=, quote=\" header=true",
        &["1", " x"],
    );
    check_found(b"name\nAnna\nOtto\n", "encoding=utf8 line_ending=auto delimiter=, quote=\" header=true", &["Anna"]);
    check_found(b"x,y\nz,x\nx,w\n", "encoding=utf8 line_ending=auto delimiter=, quote=\" header=false", &["x", "y"]);
}

#[test]
fn the_encoding_is_found_in_the_sample() {
    check_found(b"a;b\n\xe9;1\n", "encoding=latin1 line_ending=auto delimiter=; quote=\" header=true", &["é", "1"]);
    check_found(
        b"a;b\n\x80;1\n",
        "encoding=windows_1252 line_ending=auto delimiter=; quote=\" header=true",
        &["€", "1"],
    );
    let units: Vec<u8> = "a;b\né;1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check_found(&units, "encoding=utf16_le line_ending=auto delimiter=; quote=\" header=true", &["é", "1"]);
}

#[test]
fn what_is_said_wins_and_is_not_reported() {
    let said = CsvFormat { delimiter: ",".into(), quote: Some(b'\''), header: false, ..CsvFormat::default() };
    let (options, rows, _) = found(&said, b"a;b,c\n1;2,3\n");
    assert_eq!(options, "encoding=utf8 line_ending=auto");
    assert_eq!(rows[0], ["a;b", "c"]);
    let (_, _, reasons) = found(&CsvFormat::default(), b"a;b\n1;2\n3;x,y\n");
    assert_eq!(
        reasons,
        [
            "the sample is UTF-8",
            "3 LF, 0 CRLF and 0 CR are in the sample",
            "`;` splits 3 of 3 records into 2 fields; next best: `,`, 2 into 1",
            "there is no quote in the sample",
            "all rows but the first have a number, a date or a truth in column `a`",
        ]
    );
}

/// Reads with the rescued column and one rule for values of another type.
fn rescued(types: ContractMode, ragged_rows: RaggedRows, text: &str) -> Result<Outcome, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(&path, text).unwrap();
    let format = CsvFormat { ragged_rows, ..CsvFormat::default() };
    let mut source = source(&path, Format::Csv(format), &[("n", "long"), ("s", "string")]);
    source.rescued_column = Some("_rescued".to_owned());
    source.contract.types = types;
    on_runtime(read(&source, OnBadRow::Skip))
}

#[test]
fn what_has_no_column_is_rescued() {
    let text = "n,s\n1,a\nx,b\n2,c,\"say \"\"hi\"\"\",e\n\"y\n\",d,1\n";
    let outcome = rescued(ContractMode::DiscardValue, RaggedRows::Fit, text).unwrap();
    assert_eq!(outcome.rejects, []);
    assert_eq!(
        outcome.rows,
        [
            ["1", "a", "NULL"],
            ["NULL", "b", r#"{"n":"x"}"#],
            ["2", "c", r#"{"column_3":"say \"hi\"","column_4":"e"}"#],
            ["NULL", "d", r#"{"n":"y\n","column_3":"1"}"#],
        ]
    );
}

#[test]
fn values_of_another_type_are_what_the_contract_says() {
    let text = "n,s\n1,a\nx,b\n2,c\n";
    for types in [ContractMode::Evolve, ContractMode::DiscardRow] {
        let outcome = rescued(types, RaggedRows::Reject, text).unwrap();
        assert_eq!((outcome.rows.len(), outcome.codes()), (2, vec!["type.long"]));
    }
    // A contract that is frozen fails the job, though it skips bad rows.
    let error = rescued(ContractMode::Freeze, RaggedRows::Reject, text).unwrap_err().to_string();
    assert!(error.starts_with("field n has value `x`, expected long (file://"), "{error}");
}
