//! Every option of the format, each with what comes of it.

use moulin_core::{ColumnText, CsvFormat, Encoding, LineEnding, RaggedRows, ReadLimits};

use super::csv_dialect::{TEXTS, check, read_text, reader, reader_of_source};
use super::*;

fn plain() -> CsvFormat {
    CsvFormat::default()
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_delimiter_may_have_several_characters() {
    let bars = CsvFormat { delimiter: "||".into(), ..plain() };
    check(&bars, &TEXTS, "a||b\n1|x||2\n\"3||y\"||\"4\"\n", &[&["1|x", "2"], &["3||y", "4"]]);
    let arrow = CsvFormat { delimiter: "→".into(), ..plain() };
    check(&arrow, &TEXTS, "a→b\n1→2\n", &[&["1", "2"]]);
    assert_eq!(read_text(&bars, &TEXTS, "a||b\n1|2\n|||\n").codes(), ["csv.field_count"]);
}

#[test]
fn an_escape_makes_the_next_character_plain() {
    let escaped = CsvFormat { escape: Some(b'\\'), doubled_quotes: false, ..plain() };
    check(
        &escaped,
        &TEXTS,
        "a,b\n\"say \\\"hi\\\"\",x\\,y\ntwo\\\nlines,\\\\\n\"a\\\r\nb\",c\\\r\nd\r\n",
        &[&["say \"hi\"", "x,y"], &["two\nlines", "\\"], &["a\r\nb", "c\r\nd"]],
    );
    assert_eq!(read_text(&escaped, &TEXTS, "a,b\n\"x\"\"y\",1\n2,3\n").codes(), ["csv.quote"]);
    let both = CsvFormat { escape: Some(b'\\'), ..plain() };
    check(&both, &TEXTS, "a,b\n\"x\"\"y\\\"\",\\\"1\n", &[&["x\"y\"", "\"1"]]);
    // What is written is compared with the null values: an escape does not hide MySQL's `\N`.
    let nulls = CsvFormat { escape: Some(b'\\'), null_values: texts(&["\\N"]), ..plain() };
    check(&nulls, &TEXTS, "a,b\n\\N,\"\\N\"\n", &[&["NULL", "N"]]);
    check(&escaped, &TEXTS, "a,b\n1,2\\", &[&["1", "2\\"]]);
}

#[test]
fn comments_may_start_with_several_characters() {
    let dashes = CsvFormat { comment: Some("--".into()), ..plain() };
    check(&dashes, &TEXTS, "-- \"\na,b\n--x\n-1,-\n\"--2\",3\n--", &[&["-1", "-"], &["--2", "3"]]);
}

#[test]
fn lines_and_records_can_be_left_out() {
    let skipped = CsvFormat { skip_lines: 1, skip_rows: 1, skip_footer_rows: 2, ..plain() };
    let text = "made by me\na,b\n-,-\n1,2\n\n3,4\ntotal,2\n\nend,\"\"";
    check(&skipped, &TEXTS, text, &[&["1", "2"], &["3", "4"]]);
    check(&skipped, &TEXTS, "x\na,b\n-,-\n1,2\ntotal,1\nend\n", &[&["1", "2"]]);
    check(&skipped, &TEXTS, "x\na,b\n-,-\ntotal,1\n", &[]);
    check(&skipped, &TEXTS, "x\n", &[]);
    let outcome = read_text(&CsvFormat { skip_rows: 2, ..plain() }, &TEXTS, "a,b\n\"x\n\",y\n1,2\n3\n4,5\n");
    assert_eq!(outcome.rows, [["4", "5"]]);
    // Records that are left out have their numbers too.
    let place = &outcome.rejects[0].place;
    assert_eq!((place.record, place.line, outcome.rows_read), (3, 5, 2));
    let outcome = read_text(&CsvFormat { skip_lines: 2, ..plain() }, &TEXTS, "made\nby me\na,b\n1\n");
    assert_eq!((outcome.rejects[0].place.record, outcome.rejects[0].place.line), (1, 4));
}

#[test]
fn headers_are_joined_replaced_and_made_distinct() {
    let two = CsvFormat { header_lines: 2, ..plain() };
    check(&two, &[("x_a", "string"), ("b", "string")], "x,\na,b\n1,2\n", &[&["1", "2"]]);
    let named = CsvFormat { column_names: texts(&["a", "b"]), ..plain() };
    check(&named, &TEXTS, "x,x\n1,2\n", &[&["1", "2"]]);
    let headless = CsvFormat { header: false, ..named.clone() };
    check(&headless, &TEXTS, "1,2\n", &[&["1", "2"]]);
    let swapped = CsvFormat { column_names: texts(&["b", "a"]), ..headless };
    check(&swapped, &TEXTS, "1,2\n", &[&["2", "1"]]);
    check(
        &plain(),
        &[("a", "string"), ("a_1", "string"), ("column_3", "string")],
        "a,a,\n1,2,3\n",
        &[&["1", "2", "3"]],
    );
    // A header that is replaced may be a bad one, as long as it can hold no row.
    for header in ["x", "x,y,z", "\"x,y\"z", "\"x\" y,z"] {
        check(&named, &TEXTS, &format!("{header}\n1,2\n"), &[&["1", "2"]]);
    }
    for (header, what) in
        [("\"x\ny\"z", "a field that goes on after its closing quote"), ("x,\"y", "a quote that is not closed")]
    {
        let text = format!("{header}\n1,2\n");
        let error = read_serially(&reader(&named, &TEXTS), text.as_bytes(), 64).unwrap_err().to_string();
        assert!(error.contains(&format!("its header has {what}; leave it out with csv.skip_lines")), "{error}");
    }
}

#[test]
fn words_and_numbers_are_written_as_the_format_says() {
    let types = [("b", "boolean"), ("n", "long"), ("d", "double"), ("c", "decimal(9,2)")];
    let german = CsvFormat {
        delimiter: ";".into(),
        true_values: texts(&["ja", "wahr"]),
        false_values: texts(&["nein"]),
        decimal_separator: b',',
        thousands_separator: Some(b'.'),
        ..plain()
    };
    check(
        &german,
        &types,
        "b;n;d;c\nja;1.234;0,5;1.234,56\nnein;-7;1.000;12\nwahr;\"1\";\"1,5\";\"-0,01\"\n;;;\n",
        &[
            &["true", "1234", "0.5", "1234.56"],
            &["false", "-7", "1000.0", "12.00"],
            &["true", "1", "1.5", "-0.01"],
            &["NULL", "NULL", "NULL", "NULL"],
        ],
    );
    let outcome = read_text(&german, &types, "b;n;d;c\ntrue;1;1;1\nja;1.5;1;1\nja;1;1.5;1\nja;1;1;1.5\n");
    assert_eq!(outcome.codes(), ["type.boolean", "type.long", "type.double", "type.decimal"]);
    assert_eq!(
        outcome.rejects[0].reason,
        "field b has value `true`, expected boolean, `ja` `wahr` for true and `nein` for false"
    );
}

#[test]
fn dates_and_times_are_written_as_the_format_says() {
    let types = [("d", "date"), ("t", "time"), ("m", "timestamp"), ("z", "timestamptz")];
    let format = CsvFormat {
        date_format: Some("%d.%m.%Y".into()),
        time_format: Some("%I:%M %p".into()),
        timestamp_format: Some("%m/%d/%Y %H:%M".into()),
        timezone: Some("Europe/Berlin".into()),
        ..plain()
    };
    check(
        &format,
        &types,
        "d,t,m,z\n29.02.2024,01:30 PM,7/4/2024 16:05,07/04/2024 16:05\n\"1.3.2024\",12:00 AM,,01/04/2024 16:05\n",
        &[
            &["2024-02-29", "13:30:00", "2024-07-04T16:05:00", "2024-07-04T14:05:00Z"],
            &["2024-03-01", "00:00:00", "NULL", "2024-01-04T15:05:00Z"],
        ],
    );
    // The clock of 2024-03-31 goes from 2 to 3; that of 2024-10-27 shows the hour from 2 to 3 twice.
    let outcome = read_text(&format, &[("z", "timestamptz")], "z\n03/31/2024 02:30\n10/27/2024 02:30\n");
    assert_eq!((outcome.rows[0][0].as_str(), outcome.codes()), ("2024-10-27T00:30:00Z", vec!["type.timestamptz"]));
    let iso = CsvFormat { timezone: Some("America/New_York".into()), ..plain() };
    check(
        &iso,
        &[("z", "timestamptz")],
        "z\n2024-01-01 00:00:00\n2024-01-01T00:00:00Z\n2024-01-01T00:00:00+02:00\n",
        &[&["2024-01-01T05:00:00Z"], &["2024-01-01T00:00:00Z"], &["2023-12-31T22:00:00Z"]],
    );
}

#[test]
fn what_is_said_of_a_column_wins_over_the_format() {
    let format = CsvFormat { null_values: texts(&["NA"]), decimal_separator: b',', ..plain() };
    let mut declared =
        columns(&[("a", "string"), ("b", "double"), ("c", "boolean"), ("d", "date"), ("e", "timestamptz")]);
    declared[0].text = ColumnText { null_values: texts(&["-"]), ..ColumnText::default() };
    declared[1].text = ColumnText { decimal_separator: Some(b'.'), ..ColumnText::default() };
    declared[2].text = ColumnText { true_values: texts(&["x"]), ..ColumnText::default() };
    declared[3].text = ColumnText { format: Some("%Y%m%d".into()), ..ColumnText::default() };
    declared[4].text = ColumnText { timezone: Some("Asia/Tokyo".into()), ..ColumnText::default() };
    let source = Source { columns: declared, ..Source::new(Vec::new(), Format::Csv(format.clone())) };
    let file = b"a,b,c,d,e\nNA,NA,x,20240229,2024-01-01T09:00:00\n-,1.5,false,NA,NA\n";
    let outcome = read_serially(&reader_of_source(&source, &format), file, 64).unwrap();
    assert_eq!(outcome.rejects, []);
    assert_eq!(
        outcome.rows,
        [["NA", "NULL", "true", "2024-02-29", "2024-01-01T00:00:00Z"], ["NULL", "1.5", "false", "NULL", "NULL"]]
    );
}

#[test]
fn every_encoding_is_read_as_text() {
    let text = "a,b\né,\"x\ny\"\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
    let table = [
        (Encoding::Auto, text.as_bytes().to_vec()),
        (Encoding::Auto, marked(b"\xef\xbb\xbf", text.as_bytes())),
        (Encoding::Utf8, marked(b"\xef\xbb\xbf", text.as_bytes())),
        (Encoding::Auto, marked(b"\xff\xfe", &little)),
        (Encoding::Auto, marked(b"\xfe\xff", &big)),
        (Encoding::Utf16, marked(b"\xfe\xff", &big)),
        (Encoding::Utf16, little.clone()),
        (Encoding::Utf16Le, little),
        (Encoding::Utf16Be, big),
        (Encoding::Latin1, b"a,b\n\xe9,\"x\ny\"\n".to_vec()),
        (Encoding::Windows1252, b"a,b\n\xe9,\"x\ny\"\n".to_vec()),
    ];
    for (encoding, bytes) in table {
        let format = CsvFormat { encoding, ..plain() };
        for block in [1, 5, 1 << 16] {
            let outcome = read_serially(&reader(&format, &TEXTS), &bytes, block).unwrap();
            assert_eq!((outcome.rows, outcome.rejects), (vec![texts(&["é", "x\ny"])], vec![]), "{encoding:?} {block}");
        }
    }
    let euro = CsvFormat { encoding: Encoding::Windows1252, ..plain() };
    let outcome = read_serially(&reader(&euro, &TEXTS), b"a,b\n\x80,\x93\n", 64).unwrap();
    assert_eq!(outcome.rows, [["€", "\u{201c}"]]);
    // A lone surrogate is no character: the row is refused, and nothing is put in its place.
    let lone: Vec<u8> = [97, 44, 98, 10, 0xd800, 44, 49, 10].into_iter().flat_map(u16::to_le_bytes).collect();
    let format = CsvFormat { encoding: Encoding::Utf16Le, ..plain() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(&path, lone).unwrap();
    let outcome = on_runtime(read(&source(&path, Format::Csv(format), &TEXTS), OnBadRow::Skip)).unwrap();
    assert_eq!(outcome.codes(), ["utf8"]);
}

#[test]
fn lines_end_as_the_format_says() {
    let ending = |line_ending| CsvFormat { line_ending, ..plain() };
    let mixed = "a,b\r\n1,2\n3,4\r5,\"6\r\n\"\r\n\r7,8";
    check(&ending(LineEnding::Any), &TEXTS, mixed, &[&["1", "2"], &["3", "4"], &["5", "6\r\n"], &["7", "8"]]);
    check(&ending(LineEnding::Any), &TEXTS, "a,b\r\n1,2\r\n3,4\r\n", &[&["1", "2"], &["3", "4"]]);
    check(&ending(LineEnding::Lf), &TEXTS, "a,b\n1,2\r\n", &[&["1", "2\r"]]);
    check(&ending(LineEnding::Crlf), &TEXTS, "a,b\r\n1,2\n3\r\n4\r5,6", &[&["1", "2\n3"], &["4\r5", "6"]]);
    check(&ending(LineEnding::Crlf), &TEXTS, "a,b\r\n1,2\r\n\r\n3,\"4\"\r\n", &[&["1", "2"], &["3", "4"]]);
    check(&ending(LineEnding::Cr), &TEXTS, "a,b\r1,2\n\r", &[&["1", "2\n"]]);
    // What is said and is not there is not what ends lines.
    check(&ending(LineEnding::Crlf), &TEXTS, "a,b\n1,2\n3,4\n", &[&["1", "2"], &["3", "4"]]);
    check(&ending(LineEnding::Crlf), &TEXTS, "a,b\r1,2\r", &[&["1", "2"]]);
    check(&ending(LineEnding::Cr), &TEXTS, "a,b\n1,2\n", &[&["1", "2"]]);
    check(&ending(LineEnding::Lf), &TEXTS, "a,b\r1,2\r", &[&["1", "2"]]);
    check(&ending(LineEnding::Crlf), &TEXTS, "a,b", &[]);
    let outcome = read_text(&ending(LineEnding::Any), &TEXTS, "a,b\r\n\r1,2\n\n3\r\n");
    assert_eq!((outcome.rejects[0].place.record, outcome.rejects[0].place.line), (2, 5));
}

#[test]
fn a_delimiter_at_the_end_of_lines_opens_no_field() {
    let trailing = CsvFormat { trailing_delimiter: true, ..plain() };
    check(
        &trailing,
        &TEXTS,
        "a,b,\n1,2,\r\n3,4\n5,\"\",\n6,\"\"\n,,\n",
        &[&["1", "2"], &["3", "4"], &["5", ""], &["6", ""], &["", ""]],
    );
    assert_eq!(read_text(&trailing, &TEXTS, "a,b,\n1,2,3\n1,\n1,2,\n").codes(), ["csv.field_count"; 2]);
}

#[test]
fn ragged_rows_are_what_the_format_says() {
    let ragged = |ragged_rows| CsvFormat { ragged_rows, ..plain() };
    let types = [("a", "long"), ("b", "string")];
    let text = "a,b\n1,x\n2\n3,y,z,\n";
    let rows = |ragged_rows| {
        let outcome = read_text(&ragged(ragged_rows), &types, text);
        let rows: Vec<String> = outcome.rows.iter().map(|row| row.join("|")).collect();
        (rows.join(" "), outcome.rejects.len())
    };
    assert_eq!(rows(RaggedRows::Reject), ("1|x".to_owned(), 2));
    assert_eq!(rows(RaggedRows::Pad), ("1|x 2|NULL".to_owned(), 1));
    assert_eq!(rows(RaggedRows::Truncate), ("1|x 3|y".to_owned(), 1));
    assert_eq!(rows(RaggedRows::Fit), ("1|x 2|NULL 3|y".to_owned(), 0));
}

#[test]
fn white_space_around_fields_can_be_left_out() {
    let trimmed = CsvFormat { trim: true, null_values: texts(&["NA"]), ..plain() };
    check(
        &trimmed,
        &[("a", "long"), ("b", "string")],
        " a ,\tb\n 1 , x y \n   \n2,\" q \" \n NA , NA\t\n",
        &[&["1", "x y"], &["2", " q "], &["NULL", "NULL"]],
    );
    let escaped = CsvFormat { escape: Some(b'\\'), ..trimmed.clone() };
    check(&escaped, &TEXTS, "a,b\n1\\  ,\"2\\ \" \n", &[&["1 ", "2 "]]);
    let tabs = CsvFormat { delimiter: "\t".into(), ..trimmed };
    check(&tabs, &TEXTS, "a\tb\n 1 \t\n", &[&["1", ""]]);
}

#[test]
fn limits_are_held_wherever_blocks_end() {
    let limited = |limits: ReadLimits| {
        let source = Source { columns: columns(&TEXTS), limits, ..Source::new(Vec::new(), csv()) };
        move |text: &str, block| {
            let reader = reader_of_source(&source, &plain());
            read_serially(&reader, text.as_bytes(), block)
        }
    };
    let fields = limited(ReadLimits { field_bytes: 10, ..ReadLimits::default() });
    for block in [3, 1 << 16] {
        let outcome = fields("a,b\n0123456789,1\n01234567890,2\n3,\"0123456789\"\n", block).unwrap();
        assert_eq!(outcome.rows.len(), 2);
        assert_eq!(outcome.codes(), ["csv.field_bytes"]);
        assert_eq!(outcome.rejects[0].reason, "field a has 11 bytes, and limits.field_bytes allows 10");
    }
    let records = limited(ReadLimits { record_bytes: 10, ..ReadLimits::default() });
    let names = limited(ReadLimits { columns: 2, ..ReadLimits::default() });
    for block in [3, 1 << 16] {
        assert_eq!(records("a,b\n12345678,1\r\n", block).unwrap().rows.len(), 1);
        assert_eq!(records("a,b\n123456789,1\r\n", block).unwrap().codes(), ["csv.record_bytes"]);
        let error = names("a,b,c\n", block).unwrap_err().to_string();
        assert!(error.contains("its header has 3 columns, and limits.columns allows 2"), "{error}");
    }
}

#[test]
fn ten_thousand_columns_are_columns_like_any_others() {
    let names: Vec<String> = (0..10_000).map(|at| format!("c{at}")).collect();
    let declared: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "long")).collect();
    let row: Vec<String> = (0..10_000).map(|at| at.to_string()).collect();
    let file = format!("{}\n{}\n{}\n", names.join(","), row.join(","), row.join(","));
    let outcome = read_serially(&reader(&plain(), &declared), file.as_bytes(), 1 << 20).unwrap();
    assert_eq!(outcome.rows, [row.clone(), row]);
}

#[test]
fn a_number_that_would_lose_zeros_a_sign_or_digits_is_none_of_an_inferred_type() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let rows = ["1;1,5", "0;0", "01;2", "\"02\";2", "+3;2", "-04;2", "4;00,5", "5;+1", "6;9007199254740993", "-7;-0,5"];
    let sample = "10;2,5\n".repeat(3);
    std::fs::write(&path, format!("zip;n\n{sample}{}\n", rows.join("\n"))).unwrap();
    let format = CsvFormat { delimiter: ";".to_owned(), decimal_separator: b',', ..CsvFormat::default() };
    let mut source = source(&path, Format::Csv(format), &[]);
    source.inference.sample_rows = 3;
    assert_eq!(on_runtime(described(&source)).unwrap(), "zip long inferred, n double inferred");
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    let places: Vec<u64> = outcome.rejects.iter().map(|reject| reject.place.record - 3).collect();
    assert_eq!(places, [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(
        outcome.rejects[0].reason,
        "field zip has value `01`, of which a long would lose zeros, a sign or digits; the type was inferred from a \
         sample of the first file: declare the column as string or long, with `,` before the fraction"
    );
    assert_eq!(outcome.rows[3..], [["1", "1.5"], ["0", "0.0"], ["-7", "-0.5"]]);
    source.columns = columns(&[("zip", "long"), ("n", "double")]);
    let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
    assert_eq!((rows[5][0].as_str(), rows[9][1].as_str()), ("1", "0.5"));
}

#[test]
fn inferred_numbers_are_checked_in_a_window_of_regular_rows_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let rows = |from: usize| (from..from + 3000).map(|n| format!("{n},{n}.25\n")).collect::<String>();
    std::fs::write(&path, format!("a,b\n{}01234,1.5\n{}5,+1.5\n", rows(1), rows(4000))).unwrap();
    let mut source = source(&path, csv(), &[]);
    source.inference.sample_rows = 100;
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    let places: Vec<u64> = outcome.rejects.iter().map(|reject| reject.place.record).collect();
    assert_eq!((outcome.rows.len(), places), (6000, vec![3001, 6002]));
}

#[test]
fn columns_are_inferred_from_what_texts_mean() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs_write(&path, "n;d;b;t;iso;s\n1.234,5;29.02.2024;ja;29.02.2024 10:00;2024-02-29;1.5\n");
    let format = CsvFormat {
        delimiter: ";".into(),
        decimal_separator: b',',
        thousands_separator: Some(b'.'),
        date_format: Some("%d.%m.%Y".into()),
        timestamp_format: Some("%d.%m.%Y %H:%M".into()),
        true_values: texts(&["ja"]),
        false_values: texts(&["nein"]),
        ..plain()
    };
    let file = source(&path, Format::Csv(format), &[]);
    assert_eq!(
        on_runtime(described(&file)).unwrap(),
        "n double inferred, d date inferred, b boolean inferred, t timestamp inferred, iso string inferred, s string inferred"
    );
    assert_eq!(on_runtime(read(&file, OnBadRow::Fail)).unwrap().rows[0][0], "1234.5");
}

#[test]
fn a_wrong_notation_is_refused_with_the_schema() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs_write(&path, "d\n2024-01-01\n");
    let mut file = source(&path, csv(), &[("d", "date")]);
    file.columns[0].text.format = Some("%Y-%m".into());
    let error = on_runtime(schema_of(&file)).unwrap_err().to_string();
    assert_eq!(error, "column d of type date: format `%Y-%m` has no year, month and day, which a date has");
    let zoned = Format::Csv(CsvFormat { timezone: Some("Europe/Berln".into()), ..plain() });
    let error = on_runtime(schema_of(&source(&path, zoned, &[("d", "timestamptz")]))).unwrap_err().to_string();
    assert!(error.contains("timezone `Europe/Berln` is not in the IANA database"), "{error}");
}

fn fs_write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
