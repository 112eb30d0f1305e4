//! What is JSON, what becomes of it in nested columns, and what options and contracts say to it.

use arrow::array::{AsArray, cast::downcast_array};
use arrow::array::{BooleanArray, Float64Array, Int64Array, MapArray, StringArray};
use arrow::datatypes::DataType;
use moulin_core::{Contract, ContractMode, DuplicateKeys};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::ndjson::{ndjson, read_lines, reader_with};
use super::*;

fn rescuing(source: &mut Source) {
    source.rescued_column = Some("_rescued".to_owned());
}

fn contract(columns: ContractMode, types: ContractMode) -> Contract {
    Contract { columns, types, ..Contract::default() }
}

fn read_as(declared: &[(&str, &str)], keys: DuplicateKeys, change: impl FnOnce(&mut Source), text: &[u8]) -> Outcome {
    read_serially(&reader_with(declared, keys, change), text, 1 << 16).unwrap()
}

/// What comes of a value that no column takes: `ok`, or the code of its reject.
fn verdict(value: &[u8]) -> String {
    let line = [b"{\"x\":", value, b"}\n"].concat();
    let outcome = read_as(&[("a", "long")], DuplicateKeys::Last, |_| {}, &line);
    outcome.rejects.first().map_or("ok".to_owned(), |reject| reject.code.clone())
}

#[test]
fn what_rfc_8259_calls_json_is_taken() {
    let deep = |levels: usize| [b"[".repeat(levels), b"]".repeat(levels)].concat();
    let accepted: [&[u8]; 22] = [
        b"0",
        b"-0",
        b"-0.0e-0",
        b"1E+9",
        b"1e400",
        b"123456789012345678901234567890.5",
        b"\"\"",
        b"\"\\u0000\"",
        b"\"\\ud83d\\ude00\"",
        b"\"\\ud800\"",
        b"\"\\uDEAD\\uBEEF\"",
        b"\"\xe2\x80\xa8\x7f\"",
        b"\"\xef\xbf\xbf\"",
        b"\"\\/\\b\\f\"",
        b" \t\r[ ]\r",
        b"{ }",
        b"[[],{},\"\",null,true,false,0]",
        b"{\"\":{\"\":0}}",
        b"{\"a\":1,\"a\":2}",
        b"[ 1 , 2 ]",
        b"\"\xf4\x8f\xbf\xbf\"",
        &deep(127),
    ];
    for value in accepted {
        assert_eq!(verdict(value), "ok", "{:?}", String::from_utf8_lossy(value));
    }
    assert_eq!(verdict(&deep(128)), "json.depth");
    assert_eq!(verdict(&b"[".repeat(1_000_000)), "json.depth");
}

#[test]
fn what_rfc_8259_does_not_call_json_is_rejected_with_a_code() {
    let syntax: [&[u8]; 44] = [
        b"",
        b"NaN",
        b"-NaN",
        b"Infinity",
        b"-Infinity",
        b"nan",
        b"True",
        b"nul",
        b"nulll",
        b"+1",
        b"01",
        b"-01",
        b"-",
        b".5",
        b"1.",
        b"1.e2",
        b"1e",
        b"1e+",
        b"0x1F",
        b"1_000",
        b"1 2",
        b"--1",
        b"'a'",
        b"\"a",
        b"\"\\x41\"",
        b"\"\\u12\"",
        b"\"\\u12G4\"",
        b"\"\\U0041\"",
        b"\"a\x00b\"",
        b"\"a\tb\"",
        b"\x00",
        b"[1,]",
        b"[,1]",
        b"[1,,2]",
        b"[1",
        b"]",
        b"{\"a\":1,}",
        b"{,}",
        b"{\"a\"}",
        b"{\"a\":}",
        b"{a:1}",
        b"{1:1}",
        b"[1}",
        b"1//c",
    ];
    for value in syntax {
        assert_eq!(verdict(value), "json.syntax", "{:?}", String::from_utf8_lossy(value));
    }
    let utf8: [&[u8]; 6] =
        [b"\"\xff\"", b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\"\xf4\x90\x80\x80\"", b"\"\xe2\x82\"", b"\xe9"];
    for value in utf8 {
        assert_eq!(verdict(value), "utf8", "{value:?}");
    }
}

#[test]
fn a_record_is_an_object_and_a_mark_is_no_part_of_it() {
    for (line, code) in [
        ("[{}]", "json.not_an_object"),
        ("null", "json.not_an_object"),
        ("\"a\" ", "json.not_an_object"),
        ("7 8", "json.syntax"),
        ("{} {}", "json.syntax"),
        ("{}}", "json.syntax"),
        ("\u{feff}{}", "json.syntax"),
        ("\u{c}{}", "json.syntax"),
    ] {
        let outcome = read_lines(&[("a", "long")], &format!("{{\"a\":1}}\n{line}\n"));
        assert_eq!((outcome.codes(), outcome.rows.len()), (vec![code], 1), "{line}");
    }
    let marked = read_as(&[("a", "long")], DuplicateKeys::Last, |_| {}, b"\xef\xbb\xbf{\"a\":1}\r\n \r\n{\"a\":2}");
    assert_eq!((marked.rows, marked.rejects), (vec![vec!["1".to_owned()], vec!["2".to_owned()]], vec![]));
}

#[test]
fn a_value_that_its_column_cannot_hold_says_so() {
    for (ty, value, code) in [
        ("double", "1e400", "type.double"),
        ("float", "1e39", "type.float"),
        ("long", "9223372036854775808", "type.long"),
        ("long", "1.0", "type.long"),
        ("decimal(5,2)", "1000.00", "type.decimal"),
        ("decimal(5,2)", "0.001", "type.decimal"),
        ("string", "\"\\ud800\"", "json.surrogate"),
        ("string", "\"\\udc00\\ud800\"", "json.surrogate"),
        ("string", "5", "type.string"),
        ("list<string>", "[\"\\ud800\"]", "json.surrogate"),
        ("map<string, long>", "{\"\\ud800\":1}", "json.surrogate"),
        ("list<long>", "[1,\"2\"]", "type.nested"),
        ("list<long>", "7", "type.nested"),
        ("struct<a: long>", "[]", "type.nested"),
        ("map<string, long>", "{\"a\":{}}", "type.nested"),
    ] {
        let outcome = read_lines(&[("v", ty)], &format!("{{\"v\":{value}}}\n{{}}\n"));
        assert_eq!((outcome.codes(), outcome.rows.len()), (vec![code], 1), "{ty} {value}");
        assert_eq!(outcome.rejects[0].place.column, "v");
    }
    let outcome = read_lines(&[("v", "struct<a: list<map<string, long>>>")], r#"{"v":{"a":[{},{"k":1,"l":"x"}]}}"#);
    assert_eq!(outcome.rejects[0].reason, "field v.a[1].l has value `\"x\"`, expected long");
}

#[test]
fn numbers_are_exact_at_every_depth() {
    let types = [
        ("l", "list<long>"),
        ("d", "struct<p: decimal(38,2)>"),
        ("m", "map<string, decimal(20,0)>"),
        ("t", "string"),
        ("u", "list<list<double>>"),
    ];
    let text = r#"{"l":[9007199254740993,-9223372036854775808,null,-0],"d":{"p":123456789012345678901234567890123456.78},"m":{"k":18446744073709551615},"t":{"x":[1.10,1E2]},"u":[[0.1],[],null]}"#;
    let outcome = read_lines(&types, text);
    assert_eq!(
        outcome.rows,
        [[
            "[9007199254740993, -9223372036854775808, , 0]",
            "{p: 123456789012345678901234567890123456.78}",
            "{k: 18446744073709551615}",
            "{\"x\":[1.10,1E2]}",
            "[[0.1], [], ]"
        ]]
    );
}

#[test]
fn a_key_that_comes_twice_counts_as_the_option_says() {
    let types = [("a", "long"), ("s", "struct<b: long>"), ("m", "map<string, long>")];
    let text = br#"{"a":1,"s":{"b":1,"b":2,"\u0062":3},"m":{"k":1,"l":9,"k":2},"a":2}"#;
    let rows = |keys| read_as(&types, keys, |_| {}, text).rows;
    assert_eq!(rows(DuplicateKeys::Last), [["2", "{b: 3}", "{k: 2, l: 9}"]]);
    assert_eq!(rows(DuplicateKeys::First), [["1", "{b: 1}", "{k: 1, l: 9}"]]);
    for record in [
        &br#"{"a":1,"a":1}"#[..],
        br#"{"x":[0,{"y":1,"z":{},"y":2}]}"#,
        br#"{"s":{"b":1,"\u0062":2}}"#,
        br#"{"x":1,"x":2}"#,
    ] {
        let outcome = read_as(&types, DuplicateKeys::Reject, |_| {}, record);
        assert_eq!(outcome.codes(), ["json.duplicate_key"], "{}", String::from_utf8_lossy(record));
    }
    let once = br#"{"a":1,"x":[{"a":1},{"a":1,"b":{"a":[]}}],"m":{"a":1}}"#;
    assert_eq!(read_as(&types, DuplicateKeys::Reject, |_| {}, once).rejects, []);
}

#[test]
fn what_a_bad_row_would_have_rescued_is_none_of_the_next() {
    let change = |source: &mut Source| {
        rescuing(source);
        source.contract = contract(ContractMode::Evolve, ContractMode::DiscardValue);
    };
    let text = b"{\"a\":\"three\",\"x\":1,\"s\":\"\xff\"}\n{\"x\":2,\"a\":\"y\"\n{\"a\":1,\"s\":\"t\"}\n";
    let outcome = read_as(&[("a", "long"), ("s", "string")], DuplicateKeys::Last, change, text);
    assert_eq!(outcome.codes(), ["utf8", "json.syntax"]);
    assert_eq!(outcome.rows, [["1", "t", "NULL"]]);
}

#[test]
fn what_has_no_column_is_rescued() {
    let text = br#"{"a":1,"x":{"y": "z"},"\u0062":"\n","x":[1]}
{"a":2}
{"a":"three","n":null}
{"x":9,"a":4}"#;
    let change = |source: &mut Source| {
        rescuing(source);
        source.contract = contract(ContractMode::Evolve, ContractMode::DiscardValue);
    };
    let outcome = read_as(&[("a", "long")], DuplicateKeys::Last, change, text);
    assert_eq!(outcome.rejects, []);
    let rescued = |row: usize| serde_json::from_str::<Value>(&outcome.rows[row][1]).unwrap();
    assert_eq!(rescued(0), json!({"x": "[1]", "b": "\"\\n\""}));
    assert_eq!(outcome.rows[1], ["2", "NULL"]);
    assert_eq!((outcome.rows[2][0].as_str(), rescued(2)), ("NULL", json!({"a": "\"three\"", "n": "null"})));
    assert_eq!(rescued(3), json!({"x": "9"}));
    let first = read_as(&[("a", "long")], DuplicateKeys::First, rescuing, text);
    assert_eq!(first.rows[0][1], r#"{"x":"{\"y\": \"z\"}","\u0062":"\"\\n\""}"#);
    assert_eq!(first.codes(), ["type.long"]);
}

#[test]
fn a_contract_says_what_unknown_keys_and_misfits_do() {
    let text = b"{\"a\":1}\n{\"a\":2,\"new\":{}}\n{\"a\":\"x\"}\n{\"a\":4}\n";
    let read = |columns, types| {
        read_as(&[("a", "long")], DuplicateKeys::Last, |source| source.contract = contract(columns, types), text)
    };
    let discarded = read(ContractMode::DiscardRow, ContractMode::DiscardRow);
    assert_eq!((discarded.codes(), discarded.rows.len()), (vec!["contract.column", "type.long"], 2));
    assert_eq!(
        discarded.rejects[0].reason,
        "row has the key `new`, which is no column, and contract.columns is discard_row"
    );
    let values = read(ContractMode::DiscardValue, ContractMode::DiscardValue);
    assert_eq!(
        (values.rejects, values.rows),
        (vec![], vec![vec!["1".into()], vec!["2".into()], vec!["NULL".into()], vec!["4".into()]])
    );
}

#[test]
fn a_frozen_contract_fails_the_job_whatever_bad_rows_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    let bad = "{\"a\":x}\n".repeat(20);
    std::fs::write(&path, format!("{bad}{{\"a\":1}}\n{{\"a\":1,\"new\":2}}\n{{\"a\":\"x\"}}\n")).unwrap();
    for (columns, types, code, line) in [
        (ContractMode::Freeze, ContractMode::Evolve, "contract.column", 22),
        (ContractMode::Evolve, ContractMode::Freeze, "type.long", 23),
    ] {
        let mut source = source(&path, ndjson(), &[("a", "long")]);
        source.contract = contract(columns, types);
        let error = on_runtime(read(&source, OnBadRow::Skip)).unwrap_err();
        let Error::BadRow(reject) = &error else { panic!("{error}") };
        assert_eq!((reject.code.as_str(), reject.place.line), (code, line));
    }
}

#[test]
fn a_contract_without_new_columns_has_the_declared_ones_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    std::fs::write(&path, "{\"b\":1,\"a\":1}\n").unwrap();
    let mut source = source(&path, ndjson(), &[("a", "long")]);
    assert_eq!(on_runtime(described(&source)).unwrap(), "b long inferred, a long declared");
    rescuing(&mut source);
    source.contract.columns = ContractMode::DiscardValue;
    assert_eq!(on_runtime(described(&source)).unwrap(), "a long declared, _rescued string rescued");
    assert_eq!(on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows, [["1", r#"{"b":"1"}"#]]);
}

#[test]
fn limits_are_kept() {
    let limited = |change: fn(&mut Source), text: &[u8]| {
        let outcome = read_as(&[("a", "string")], DuplicateKeys::Last, change, text);
        outcome.rejects.first().map(|reject| (reject.code.clone(), reject.place.column.clone()))
    };
    let field = |source: &mut Source| source.limits.field_bytes = 10;
    assert_eq!(limited(field, b"{\"a\":\"12345678\",\"b\":[],\"c\":0}"), None);
    assert_eq!(limited(field, b"{\"a\":\"123456789\"}"), Some(("json.field_bytes".into(), "a".into())));
    assert_eq!(limited(field, b"{\"b\":[1,2,3,4,5,6]}"), Some(("json.field_bytes".into(), "b".into())));
    let depth = |source: &mut Source| source.limits.depth = 3;
    assert_eq!(limited(depth, b"{\"a\":[[]]}"), None);
    assert_eq!(limited(depth, b"{\"a\":[[[]]]}").unwrap().0, "json.depth");
}

#[test]
fn numbers_that_no_number_type_holds_are_inferred_as_their_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    let huge = "9".repeat(39);
    std::fs::write(
        &path,
        format!("{{\"d\":12345678901234567890,\"t\":{huge},\"e\":1e999,\"v\":1}}\n{{\"v\":[\"x\"]}}\n"),
    )
    .unwrap();
    let source = source(&path, ndjson(), &[]);
    assert_eq!(
        on_runtime(described(&source)).unwrap(),
        "d decimal(38,0) inferred, t string inferred, e string inferred, v string inferred"
    );
    let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
    assert_eq!(rows[0], ["12345678901234567890", huge.as_str(), "1e999", "1"]);
    assert_eq!(rows[1][3], "[\"x\"]");
}

#[test]
fn whole_numbers_that_a_double_would_round_make_texts_of_fractions_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    let (first, second) = (
        r#"{"large":1.5,"wide":1.5,"exact":1.5,"whole":9007199254740993,"s":{"n":[0.5]}}"#,
        r#"{"large":12345678901234567890,"wide":9007199254740993,"exact":9007199254740992,"whole":1,"s":{"n":[9007199254740993]}}"#,
    );
    std::fs::write(&path, format!("{first}\n{second}\n")).unwrap();
    let source = source(&path, ndjson(), &[]);
    assert_eq!(
        on_runtime(described(&source)).unwrap(),
        "large string inferred, wide string inferred, exact double inferred, whole long inferred, \
         s struct<n: list<string>> inferred"
    );
    let rows = on_runtime(read(&source, OnBadRow::Fail)).unwrap().rows;
    assert_eq!(
        rows[1],
        ["12345678901234567890", "9007199254740993", "9007199254740992.0", "1", "{n: [9007199254740993]}"]
    );
    let reasons = on_runtime(schema_of(&source)).unwrap().sample.reasons;
    assert_eq!(
        reasons[1],
        "values: 1 x whole number that no double holds, 1 x number with a fraction or an exponent: kept as their JSON text"
    );
}

#[test]
fn more_keys_than_the_limit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    let keys: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":0")).collect();
    std::fs::write(&path, format!("{{{}}}\n", keys.join(","))).unwrap();
    let error = on_runtime(described(&source(&path, ndjson(), &[]))).unwrap_err().to_string();
    assert!(
        error.ends_with("a.ndjson has objects with more than 20000 keys, which is what limits.columns allows"),
        "{error}"
    );
}

/// The value of a row, as `serde_json` has it.
fn value_at(array: &Arc<dyn arrow::array::Array>, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Int64 => downcast_array::<Int64Array>(array).value(row).into(),
        DataType::Float64 => downcast_array::<Float64Array>(array).value(row).into(),
        DataType::Boolean => downcast_array::<BooleanArray>(array).value(row).into(),
        DataType::Utf8 => downcast_array::<StringArray>(array).value(row).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value_at(&items, item)).collect()
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let members =
                fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), value_at(column, row)));
            Value::Object(members.collect())
        }
        _ => {
            let pairs = downcast_array::<MapArray>(array).value(row);
            let (keys, values) = (pairs.column(0).as_string::<i32>().clone(), Arc::clone(pairs.column(1)));
            let entries = (0..values.len()).map(|at| (keys.value(at).to_owned(), value_at(&values, at)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn nested() -> impl Strategy<Value = Value> {
    let text = any::<Option<String>>().prop_map(|text| json!(text));
    let long = any::<Option<i64>>().prop_map(|n| json!(n));
    let list = prop::option::of(prop::collection::vec(long, 0..4)).prop_map(|items| json!(items));
    let map =
        prop::option::of(prop::collection::hash_map(any::<String>(), text.clone(), 0..4)).prop_map(|map| json!(map));
    let inner = (list, map, text).prop_map(|(l, m, t)| json!({"l": l, "m": m, "t": t}));
    let inner = prop_oneof![4 => inner, 1 => Just(Value::Null)];
    prop::option::of(prop::collection::vec(inner, 0..4)).prop_map(|items| json!(items))
}

proptest! {
    #[test]
    fn nested_values_come_back(rows in prop::collection::vec(nested(), 1..8), block in 1_usize..200) {
        let reader = reader_with(&[("v", "list<struct<l: list<long>, m: map<string, string>, t: string>>")], DuplicateKeys::Last, |_| {});
        let text: String = rows.iter().map(|value| json!({"v": value}).to_string() + "\n").collect();
        let mut values = Vec::new();
        for batch in crate::fuzzing::batches_of(&reader, text.as_bytes(), block).unwrap() {
            values.extend((0..batch.num_rows()).map(|row| value_at(batch.column(0), row)));
        }
        prop_assert_eq!(values, rows);
    }
}
