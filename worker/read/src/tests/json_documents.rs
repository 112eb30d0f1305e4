//! Documents that hold an array of objects.

use arrow::datatypes::{Field, Schema};
use moulin_core::JsonFormat;
use proptest::prelude::*;

use super::*;
use crate::Origin;
use crate::columns::arrow_type_of;
use crate::json::Json;

fn at(pointer: &str) -> Format {
    Format::Json(JsonFormat { pointer: pointer.to_owned(), ..JsonFormat::default() })
}

fn read_document(pointer: &str, text: &str, block: usize) -> Result<Outcome, Error> {
    let declared = columns(&[("a", "long"), ("t", "list<string>")]);
    let fields: Vec<Field> =
        declared.iter().map(|column| Field::new(&column.name, arrow_type_of(&column.ty), true)).collect();
    let schema = InputSchema::new(Arc::new(Schema::new(fields)), vec![Origin::Declared; 2]);
    let Format::Json(format) = at(pointer) else { unreachable!("at makes a json format") };
    let source = Source::new(vec!["file:///t".to_owned()], at(pointer));
    read_serially(&Json::new(&source, &format, &schema).unwrap(), text.as_bytes(), block)
}

/// A document in which everything stands that a cut could mistake for an end.
const DOCUMENT: &str = r#"{"meta": {"items": [[0]], "s": "]}\"[{,\\"},
 "n": [-1.5e+3, true, null, false, 0, 7],
 "data": [{"x": 1}, {"items":
  [ {"a": 1, "t": ["],[{", "\"", "\\"]} ,
    {"a":2,
     "t":[
     ]},
    {"a":"three"}, 4,
    {"t":[], "b": {"c": [{}, {}]}, "a": 5},{"a":6 "t":[]},

    {"a":7}
  ]}, {"items": [{}]}],
 "rest": [{"deep": [[[]]]}, "}"]} "#;

#[test]
fn an_array_is_found_and_cut_wherever_blocks_end() {
    let whole = read_document("/data/1/items", DOCUMENT, 1 << 16).unwrap();
    assert_eq!(
        whole.rows,
        [["1", "[],[{, \", \\]"], ["2", "[]"], ["5", "[]"], ["7", "NULL"]].map(|row| row.map(str::to_owned).to_vec())
    );
    let shown: Vec<String> = whole
        .rejects
        .iter()
        .map(|reject| {
            let place = &reject.place;
            let text: String = DOCUMENT[place.byte_offset as usize..].chars().take(8).collect();
            format!("{}:{} {} `{text}` {}", place.record, place.line, reject.code, reject.reason)
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    3:8 type.long `{"a":"th` field a has value `"three"`, expected long
    4:8 json.not_an_object `4,
        {` row is `4`, expected an object
    6:9 json.syntax `{"a":6 "` row is not valid JSON: found `"t":[]}` at character 8 of the element, expected `,` or `}`
    "#);
    for block in 1..DOCUMENT.len() {
        assert_eq!(read_document("/data/1/items", DOCUMENT, block).unwrap(), whole, "blocks of {block} bytes");
    }
}

#[test]
fn what_is_no_document_with_the_array_says_why() {
    let items = r#"{"items":[{"a":1}]}"#;
    for (pointer, text, expected) in [
        ("", "", "it is empty, expected a JSON document"),
        ("", " \n", "it is empty, expected a JSON document"),
        ("", items, "found `{` at byte 0, expected an array at the top"),
        ("", "7", "found `7` at byte 0, expected an array at the top"),
        ("/item", items, "the object at the top has no key `item`; it has items"),
        ("/a/b", r#"{"a":{}}"#, "the object at /a has no key `b`: it is empty"),
        ("/a/2", r#"{"a":[1,[]]}"#, "the list at /a has 2 elements, and no `2`"),
        ("/a/b", r#"{"a":7}"#, "found `7` at byte 5, expected an object or list at /a, on the way to /a/b"),
        ("/items/0", items, "found `{` at byte 10, expected an array at /items/0"),
        ("/items", r#"{"items":[{"a":1}"#, "it ends within the array at /items"),
        ("/items", r#"{"items":[{"a":1},"#, "it ends within the array at /items"),
        ("/items", r#"{"items":["#, "it ends within the array at /items"),
        ("/items", r#"{"items""#, "it ends at byte 8, where 1 objects and lists are open"),
        ("/items", r#"{"items":[]"#, "it ends at byte 11, where 1 objects and lists are open"),
        ("/items", r#"{"items":[]}}"#, "found `}` at byte 12, expected nothing behind the document"),
        ("", "[{}] x", "found `x` at byte 5, expected nothing behind the document"),
        ("", "[{}],", "found `,` at byte 4, expected nothing behind the document"),
        ("", "[{},]", "found `]` at byte 4, expected an element behind the comma"),
        ("", "[{},\n ]", "found `]` at byte 6, expected an element behind the comma"),
        ("", "[{}}", "found `}` at byte 3, expected `]` at the end of the array"),
        ("/b", r#"{"a":01,"b":[]}"#, "found `1` at byte 6, expected `,` or `}`"),
        ("/b", r#"{"a":nul,"b":[]}"#, "found `,` at byte 8, expected true, false or null"),
        ("/b", r#"{"a":"\x","b":[]}"#, "found `x` at byte 7, expected an escape sequence"),
        ("/b", "{\"a\":\"\x1f\",\"b\":[]}", "found `\x1f` at byte 6, expected the end of the string"),
        ("/b", r#"{"b":[],}"#, "found `}` at byte 8, expected a key"),
        ("/b", r#"{"b":[]:1}"#, "found `:` at byte 7, expected `,` or `}`"),
    ] {
        for block in [1, 2, 5, 1 << 16] {
            let error = read_document(pointer, text, block).unwrap_err();
            assert_eq!(error.to_string(), format!("file:///t is damaged: {expected}"), "{text} in blocks of {block}");
        }
    }
}

#[test]
fn empty_arrays_marks_and_escaped_keys_are_taken() {
    for (pointer, text) in [
        ("", "[]"),
        ("", "\u{feff}\r\n[ \n ] \n"),
        ("/a~1b/~0", r#"{"a\/b":{"\u007e":[]}}"#),
        ("/", r#"{"":[],"":[{}]}"#),
        ("/0/0", "[[[]]]"),
    ] {
        assert_eq!(read_document(pointer, text, 3).unwrap(), Outcome::default(), "{text}");
    }
    assert_eq!(read_document("", "[{\"a\":1}]", 1).unwrap().rows, [["1", "NULL"]]);
    assert_eq!(read_document("", "[,{}]", 2).unwrap().codes(), ["json.syntax"]);
}

#[test]
fn the_schema_of_a_document_is_inferred_like_that_of_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let rows: Vec<String> = (0..50_000).map(|n| format!("{{\"n\":{n},\n\"who\":{{\"age\":{}}}}}", n % 90)).collect();
    std::fs::write(&path, format!("{{\"data\":[\n{}\n]}}", rows.join(",\n"))).unwrap();
    let source = source(&path, at("/data"), &[]);
    assert_eq!(on_runtime(described(&source)).unwrap(), "n long inferred, who struct<age: long> inferred");
    for threads in [1, 3] {
        let outcome = on_runtime(read_with(&source, ReadOptions { threads, ..options(OnBadRow::Fail) })).unwrap();
        assert_eq!((outcome.rows.len(), outcome.rows_read), (50_000, 50_000));
        assert_eq!(outcome.rows[49_999], ["49999", "{age: 49}"]);
    }
}

proptest! {
    #[test]
    fn a_document_has_the_rows_of_its_lines(rows in prop::collection::vec((any::<Option<i64>>(), any::<Option<Vec<String>>>()), 0..10), block in 1_usize..80, pretty in any::<bool>()) {
        let objects: Vec<serde_json::Value> = rows.iter().map(|(a, t)| serde_json::json!({"a": a, "t": t})).collect();
        let lines: String = objects.iter().map(|object| object.to_string() + "\n").collect();
        let document = serde_json::json!({"x": "y", "items": objects});
        let text = if pretty { serde_json::to_string_pretty(&document).unwrap() } else { document.to_string() };
        let expected = super::ndjson::read_lines(&[("a", "long"), ("t", "list<string>")], &lines);
        prop_assert_eq!(read_document("/items", &text, block).unwrap(), expected);
    }
}
