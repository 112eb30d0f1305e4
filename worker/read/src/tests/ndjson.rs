use arrow::datatypes::{Field, Schema};
use moulin_core::{DuplicateKeys, NdjsonFormat};
use proptest::prelude::*;

use super::*;
use crate::Origin;
use crate::columns::arrow_type_of;
use crate::ndjson::Ndjson;

fn reader(declared: &[(&str, &str)]) -> Ndjson {
    reader_with(declared, DuplicateKeys::Last, |_| {})
}

/// A reader with options. A column `_rescued` is last when the source has one.
pub(super) fn reader_with(
    declared: &[(&str, &str)],
    duplicate_keys: DuplicateKeys,
    change: impl FnOnce(&mut Source),
) -> Ndjson {
    let mut source = Source::new(vec!["file:///t".to_owned()], ndjson());
    change(&mut source);
    let fields: Vec<Field> =
        columns(declared).iter().map(|column| Field::new(&column.name, arrow_type_of(&column.ty), true)).collect();
    let origins = vec![Origin::Declared; fields.len()];
    let schema = crate::with_rescued(InputSchema::new(Arc::new(Schema::new(fields)), origins), &source).unwrap();
    Ndjson::new(&source, duplicate_keys, &schema).unwrap()
}

pub(super) fn ndjson() -> Format {
    Format::Ndjson(NdjsonFormat::default())
}

pub(super) fn read_lines(declared: &[(&str, &str)], text: &str) -> Outcome {
    let outcome = read_serially(&reader(declared), text.as_bytes(), 1 << 16).unwrap();
    let split = read_serially(&reader(declared), text.as_bytes(), 5).unwrap();
    assert_eq!(outcome, split, "blocks of 5 bytes differ for {text:?}");
    outcome
}

#[test]
fn every_type_is_read_from_its_value() {
    let types = [
        ("b", "boolean"),
        ("i", "int"),
        ("l", "long"),
        ("d", "double"),
        ("c", "decimal(20,2)"),
        ("y", "date"),
        ("z", "timestamptz"),
        ("s", "string"),
        ("x", "binary"),
    ];
    let text = r#"{"b":true,"i":-7,"l":9007199254740993,"d":1.5e3,"c":123456789012345678.01,"y":"2024-02-29","z":"2024-01-01T00:00:00Z","s":"a\"\u00e9\n","x":"00ff"}
{"s":"last","c":"1.50","l":1,"unknown":{"a":[1,{}]}, "b" : false , "l":2}

{}
{"b":null,"s":null}"#;
    let outcome = read_lines(&types, text);
    assert_eq!(outcome.rejects, []);
    assert_eq!(
        outcome.rows[0],
        [
            "true",
            "-7",
            "9007199254740993",
            "1500.0",
            "123456789012345678.01",
            "2024-02-29",
            "2024-01-01T00:00:00Z",
            "a\"é\n",
            "00ff"
        ]
    );
    assert_eq!(outcome.rows[1], ["false", "NULL", "2", "NULL", "1.50", "NULL", "NULL", "last", "NULL"]);
    assert_eq!(outcome.rows[2], ["NULL"; 9]);
    assert_eq!((&outcome.rows[3], outcome.rows_read), (&outcome.rows[2], 4));
}

#[test]
fn a_bad_line_says_where_and_why() {
    let types = [("id", "long"), ("s", "string")];
    let text = "{\"id\":1,\"s\":\"ok\"}\n{\"id\":\"2\"}\n{\"id\":3.5}\n\n{\"id\":4,\"s\":5}\n{\"id\":5\n[6]\n{\"id\":7} x\n{\"id\":8,\"s\":\"\\ud800\"}\n{\"id\":9}\n{\"id\":01}\n";
    let outcome = read_lines(&types, text);
    assert_eq!(
        (outcome.rows, outcome.rows_read),
        (vec![vec!["1".into(), "ok".into()], vec!["9".into(), "NULL".into()]], 10)
    );
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let shown: Vec<String> = outcome
        .rejects
        .iter()
        .map(|reject| {
            let place = &reject.place;
            assert!(text[place.byte_offset as usize..].starts_with(lines[place.line as usize - 1]), "{reject:?}");
            format!("{}:{} {} [{}] {}", place.record, place.line, reject.code, place.column, reject.reason)
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    2:2 type.long [id] field id has value `"2"`, expected long
    3:3 type.long [id] field id has value `3.5`, expected long
    4:5 type.string [s] field s has value `5`, expected string
    5:6 json.syntax [] row is not valid JSON: found the end of the line at character 8 of the line, expected `,` or `}`
    6:7 json.not_an_object [] row is `[6]`, expected an object
    7:8 json.syntax [] row is not valid JSON: found `x` at character 10 of the line, expected the end of the line
    8:9 json.surrogate [s] field s has value `"\ud800"`, in which half of a surrogate pair is no character
    10:11 json.syntax [] row is not valid JSON: found `1}` at character 8 of the line, expected `,` or `}`
    "#);
}

#[test]
fn nested_values_are_inferred_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    let mut text = String::from(
        "{\"id\":1,\"at\":\"2024-01-01\",\"tags\":[\"a\",null],\"who\":{\"name\":\"x\",\"age\":3}}\n{\"id\":2,\"big\":18446744073709551615}\n",
    );
    for n in 3..20_003 {
        text.push_str(&format!("{{\"id\":{n},\"tags\":[],\"who\":{{\"name\":\"n{n}\"}}}}\n"));
    }
    text.push_str("{\"id\":20003,\"who\":{\"age\":\"old\"}}\n{\"id\":20004,\"tags\":[\"z\"]}\n");
    std::fs::write(&path, text).unwrap();
    let source = source(&path, ndjson(), &[]);
    assert_eq!(
        on_runtime(described(&source)).unwrap(),
        "id long inferred, at date inferred, tags list<string> inferred, who struct<name: string, age: long> inferred, big decimal(38,0) inferred"
    );
    let outcome = on_runtime(read(&source, OnBadRow::Skip)).unwrap();
    assert_eq!((outcome.rows.len(), outcome.rows_read), (20_003, 20_004));
    assert_eq!(outcome.rows[0], ["1", "2024-01-01", "[a, ]", "{name: x, age: 3}", "NULL"]);
    assert_eq!(outcome.rows[1][4], "18446744073709551615");
    assert_eq!(outcome.rows[20_002], ["20004", "NULL", "[z]", "NULL", "NULL"]);
    assert_eq!((outcome.codes(), outcome.rejects[0].place.line), (vec!["type.nested"], 20_003));
}

proptest! {
    #[test]
    fn objects_come_back(rows in prop::collection::vec((any::<Option<i64>>(), any::<Option<String>>(), any::<Option<bool>>()), 0..20), block in 1_usize..60) {
        let types = [("n", "long"), ("s", "string"), ("b", "boolean")];
        let text: String = rows.iter().map(|(n, s, b)| serde_json::json!({"n": n, "s": s, "b": b}).to_string() + "\n").collect();
        let outcome = read_serially(&reader(&types), text.as_bytes(), block).unwrap();
        let shown = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
        let expected: Vec<Vec<String>> = rows.into_iter().map(|(n, s, b)| vec![shown(n.map(|n| n.to_string())), shown(s), shown(b.map(|b| b.to_string()))]).collect();
        prop_assert_eq!(outcome.rows, expected);
    }
}

#[test]
fn a_number_beyond_all_doubles_is_refused_and_not_infinite() {
    let outcome = read_lines(
        &[("d", "double"), ("f", "float")],
        "{\"d\":1e400}\n{\"d\":-1e400}\n{\"f\":1e39}\n{\"d\":1e308,\"f\":1e38}\n{\"d\":1e-400}\n",
    );
    assert_eq!(outcome.codes(), ["type.double", "type.double", "type.float"]);
    assert_eq!(outcome.rows.len(), 2);
}
