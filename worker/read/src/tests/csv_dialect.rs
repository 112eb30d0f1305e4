use arrow::datatypes::{Field, Schema};
use moulin_core::CsvFormat;

use super::*;
use crate::columns::arrow_type_of;
use crate::csv::Csv;
use crate::{InputSchema, Origin};

pub(super) fn reader(format: &CsvFormat, declared: &[(&str, &str)]) -> Csv {
    let source = Source { columns: columns(declared), ..Source::new(Vec::new(), Format::Csv(format.clone())) };
    reader_of_source(&source, format)
}

pub(super) fn reader_of_source(source: &Source, format: &CsvFormat) -> Csv {
    let fields: Vec<Field> =
        source.columns.iter().map(|column| Field::new(&column.name, arrow_type_of(&column.ty), true)).collect();
    let origins = vec![Origin::Declared; fields.len()];
    let schema = crate::with_rescued(InputSchema::new(Arc::new(Schema::new(fields)), origins), source).unwrap();
    Csv::new(source, format, &schema).unwrap()
}

pub(super) fn read_text(format: &CsvFormat, declared: &[(&str, &str)], text: &str) -> Outcome {
    let outcome = read_serially(&reader(format, declared), text.as_bytes(), 1 << 16).unwrap();
    // Every table of this file is also read record by record, and in blocks of some bytes.
    let slow = read_serially(&reader(format, declared).with_window(0), text.as_bytes(), 1 << 16).unwrap();
    assert_eq!(outcome, slow, "the fast and the slow way differ for {text:?}");
    let split = read_serially(&reader(format, declared).with_window(3), text.as_bytes(), 5).unwrap();
    assert_eq!(outcome, split, "blocks of 5 bytes differ for {text:?}");
    outcome
}

#[track_caller]
pub(super) fn check(format: &CsvFormat, declared: &[(&str, &str)], text: &str, rows: &[&[&str]]) {
    let outcome = read_text(format, declared, text);
    assert_eq!(outcome.rejects, [], "{text:?}");
    assert_eq!(outcome.rows, rows, "{text:?}");
    assert_eq!(outcome.rows_read, rows.len() as u64);
}

pub(super) const TEXTS: [(&str, &str); 2] = [("a", "string"), ("b", "string")];

#[test]
fn rfc_4180_is_read() {
    let plain = CsvFormat::default();
    check(&plain, &TEXTS, "a,b\n1,2\n3,4\n", &[&["1", "2"], &["3", "4"]]);
    check(&plain, &TEXTS, "a,b\r\n1,2\r\n3,4\r\n", &[&["1", "2"], &["3", "4"]]);
    check(&plain, &TEXTS, "a,b\r1,2\r3,4\r", &[&["1", "2"], &["3", "4"]]);
    check(&plain, &TEXTS, "a,b\n1,2\n3,4", &[&["1", "2"], &["3", "4"]]);
    check(&plain, &TEXTS, "\u{feff}a,b\n1,2", &[&["1", "2"]]);
    check(&plain, &TEXTS, "a,b\n", &[]);
    check(&plain, &TEXTS, "a,b", &[]);
    check(&plain, &TEXTS, "", &[]);
    check(&plain, &TEXTS, "a,b\n\n1,2\n\r\n\n3,4\n\n", &[&["1", "2"], &["3", "4"]]);
    check(&plain, &TEXTS, "a,b\n\"x, y\",\"say \"\"hi\"\"\"\n", &[&["x, y", "say \"hi\""]]);
    check(
        &plain,
        &TEXTS,
        "a,b\n\"two\nlines\",\"and\r\nmore\"\r\n3,4\n",
        &[&["two\nlines", "and\r\nmore"], &["3", "4"]],
    );
    check(&plain, &TEXTS, "a,b\n\"\",x\n\"\"\"\",y\n", &[&["", "x"], &["\"", "y"]]);
    check(&plain, &TEXTS, "a,b\n5\" pipe,3\"\n\"q\",4\n", &[&["5\" pipe", "3\""], &["q", "4"]]);
    check(&plain, &TEXTS, "a,b\nx\ry,2\n", &[&["x\ry", "2"]]);
    check(&plain, &TEXTS, "b,a\n1,2\n", &[&["2", "1"]]);
    check(&plain, &TEXTS, "\"a\",\"b\"\n1,\"2\"", &[&["1", "2"]]);
    check(&plain, &[("a", "string")], "a\nx\n\n\"\"\ny\n", &[&["x"], &[""], &["y"]]);
}

#[test]
fn options_of_the_format_are_heeded() {
    let pipes = CsvFormat { delimiter: "|".into(), quote: Some(b'\''), ..CsvFormat::default() };
    check(&pipes, &TEXTS, "a|b\n'x|y'|\"2\n", &[&["x|y", "\"2"]]);
    let bare = CsvFormat { quoting: false, ..CsvFormat::default() };
    check(&bare, &TEXTS, "a,b\n\"1,2\"\n", &[&["\"1", "2\""]]);
    let headless = CsvFormat { header: false, ..CsvFormat::default() };
    check(&headless, &TEXTS, "1,2\n3,4\n", &[&["1", "2"], &["3", "4"]]);
    let skipping = CsvFormat { skip_lines: 2, ..CsvFormat::default() };
    check(&skipping, &TEXTS, "made \"by\nme\na,b\n1,2\n", &[&["1", "2"]]);
    let commented = CsvFormat { comment: Some("#".into()), ..CsvFormat::default() };
    check(&commented, &TEXTS, "# one \"\na,b\n#two\n1,#2\n#\n\"#3\",4\n#\"", &[&["1", "#2"], &["#3", "4"]]);
}

#[test]
fn nulls_follow_the_rule() {
    let types = [("n", "long"), ("s", "string"), ("d", "date")];
    let plain = CsvFormat::default();
    check(&plain, &types, "n,s,d\n,,\n1,x,2024-02-29\n", &[&["NULL", "", "NULL"], &["1", "x", "2024-02-29"]]);
    let marked = CsvFormat { null_values: vec!["NA".into(), "-1".into()], ..plain.clone() };
    check(
        &marked,
        &types,
        "n,s,d\nNA,NA,NA\n-1,\"NA\",\n1,,NA\n",
        &[&["NULL", "NULL", "NULL"], &["NULL", "NA", "NULL"], &["1", "", "NULL"]],
    );
    // A null value that is also a value of its column, in rows that nothing makes unusual.
    check(
        &marked,
        &[("n", "long"), ("s", "string")],
        "n,s\n-1,NA\n1,x\n-1,y\n",
        &[&["NULL", "NULL"], &["1", "x"], &["NULL", "y"]],
    );
    let empty = CsvFormat { null_values: vec![String::new()], ..plain.clone() };
    check(&empty, &types, "n,s,d\n,,\n1,\"\",\n", &[&["NULL", "NULL", "NULL"], &["1", "", "NULL"]]);
    assert_eq!(read_text(&plain, &types, "n,s,d\n\"\",\"\",\n").codes(), ["type.long"]);
    assert_eq!(read_text(&marked, &types, "n,s,d\n1,x,\"NA\"\n").codes(), ["type.date"]);
}

#[test]
fn every_type_is_read_from_its_text() {
    let types = [
        ("b", "boolean"),
        ("i", "int"),
        ("l", "long"),
        ("f", "float"),
        ("d", "double"),
        ("c", "decimal(15,2)"),
        ("y", "date"),
        ("t", "time"),
        ("m", "timestamp"),
        ("z", "timestamptz"),
        ("s", "string"),
        ("x", "binary"),
    ];
    let header = types.map(|(name, _)| name).join(",");
    let text = format!(
        "{header}\ntrue,-7,9007199254740993,0.5,1e300,-1234567890.12,1969-12-31,01:02:03.5,2024-01-01 00:00:00.000001,2024-01-01T02:00:00+02:00,é,ab\n\
         \"false\",\"42\",\"1\",\"2\",\"3\",\"4.5\",\"2000-01-01\",\"00:00:00\",\"2024-01-01\",\"2024-01-01T00:00:00Z\",\"\",\"\"\n"
    );
    check(
        &CsvFormat::default(),
        &types,
        &text,
        &[
            &[
                "true",
                "-7",
                "9007199254740993",
                "0.5",
                "1e300",
                "-1234567890.12",
                "1969-12-31",
                "01:02:03.500",
                "2024-01-01T00:00:00.000001",
                "2024-01-01T00:00:00Z",
                "é",
                "6162",
            ],
            &[
                "false",
                "42",
                "1",
                "2.0",
                "3.0",
                "4.50",
                "2000-01-01",
                "00:00:00",
                "2024-01-01T00:00:00",
                "2024-01-01T00:00:00Z",
                "",
                "",
            ],
        ],
    );
}

#[test]
fn a_bad_row_says_where_and_why() {
    let types = [("id", "long"), ("dep_delay", "double"), ("s", "string")];
    let text = "id,dep_delay,s\n1,2,ok\n2,abc,no\n\n3,\"4\n\",no\n4,5,\"two\nlines\"\n5,6\n6,7,8,9\n7,8,\"x\"y\n8,9,ok\n9,1,\"open\nuntil the end\n";
    let outcome = read_text(&CsvFormat::default(), &types, text);
    let rows: Vec<String> = outcome.rows.iter().map(|row| row.join("|")).collect();
    assert_eq!(rows, ["1|2.0|ok", "4|5.0|two\nlines", "8|9.0|ok"]);
    assert_eq!(outcome.rows_read, 9);
    let shown: Vec<String> = outcome
        .rejects
        .iter()
        .map(|reject| {
            let place = &reject.place;
            // The offset is that of the record itself.
            assert!(text[place.byte_offset as usize..].starts_with(&(place.record.to_string() + ",")), "{reject:?}");
            format!("{}:{} {} [{}] {}", place.record, place.line, reject.code, place.column, reject.reason)
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    2:3 type.double [dep_delay] field dep_delay has value `abc`, expected double
    3:5 type.double [dep_delay] field dep_delay has value `4
    `, expected double
    5:9 csv.field_count [] row has 2 fields, expected 3
    6:10 csv.field_count [] row has 4 fields, expected 3
    7:11 csv.quote [s] field s goes on after its closing quote, in the row `7,8,"x"y`
    9:13 csv.unclosed_quote [s] the quote of field s is not closed before the end of the file; 2 line ends follow it
    "#);
}

#[test]
fn decimals_that_do_not_fit_are_refused_not_rounded() {
    let types = [("c", "decimal(5,2)")];
    let outcome = read_text(&CsvFormat::default(), &types, "c\n999.99\n1000.00\n0.001\n0.100\n12345\n-999.99\n");
    assert_eq!(outcome.rows, [["999.99"], ["0.10"], ["-999.99"]]);
    assert_eq!(outcome.codes(), ["type.decimal"; 3]);
}

#[test]
fn bytes_that_are_not_utf8_are_refused_where_text_is_expected() {
    let read_bytes = |ty: &str| {
        read_serially(&reader(&CsvFormat::default(), &[("a", ty), ("b", "long")]), b"a,b\nx\xff,1\nok,2\n", 64).unwrap()
    };
    let outcome = read_bytes("string");
    assert_eq!((outcome.codes(), &outcome.rows), (vec!["utf8"], &vec![vec!["ok".to_owned(), "2".to_owned()]]));
    assert_eq!(outcome.rejects[0].reason, "field a has value `x\u{fffd}`, which is not UTF-8");
    assert_eq!(read_bytes("binary").rows.len(), 2);
}

#[test]
fn a_long_value_is_shown_in_part() {
    let text = format!("a,b\n{},1\n", "é".repeat(300));
    let outcome = read_text(&CsvFormat::default(), &[("a", "long"), ("b", "long")], &text);
    assert_eq!(outcome.rejects[0].reason, format!("field a has value `{}…`, expected long", "é".repeat(100)));
}

#[test]
fn a_damaged_header_is_refused() {
    let refused = |text: &str| {
        read_serially(&reader(&CsvFormat::default(), &TEXTS), text.as_bytes(), 1 << 16).unwrap_err().to_string()
    };
    assert_eq!(refused("a,c\n1,2\n"), "file:///t has no column `b`; its header is: a, c");
    assert!(refused("a,b,c\n").contains("has a column `c` that the first file does not have"));
    assert!(refused("a,\"b\n1,2\n").contains("its header has a quote that is not closed"));
}
