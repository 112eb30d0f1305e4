//! What is said of a column is said of its texts; and what the structs of a column do not have goes where the contract
//! says.

use moulin_core::{ColumnText, Contract, ContractMode, DuplicateKeys};
use serde_json::{Value, json};

use super::ndjson::{ndjson, reader_with};
use super::*;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Reads lines as columns of which something is said.
fn read_noted(noted: &[(&str, &str, ColumnText)], text: &str) -> Outcome {
    let declared: Vec<(&str, &str)> = noted.iter().map(|(name, ty, _)| (*name, *ty)).collect();
    let reader = || {
        reader_with(&declared, DuplicateKeys::Last, |source| {
            source.columns = columns(&declared);
            source.columns.iter_mut().zip(noted).for_each(|(column, (_, _, text))| column.text = text.clone());
        })
    };
    let outcome = read_serially(&reader(), text.as_bytes(), 1 << 16).unwrap();
    assert_eq!(outcome, read_serially(&reader(), text.as_bytes(), 7).unwrap(), "blocks of 7 bytes differ");
    outcome
}

#[test]
fn texts_are_written_as_is_said_of_their_column() {
    let usual = ColumnText::default;
    let noted = [
        ("d", "date", ColumnText { format: Some("%d.%m.%Y".into()), ..usual() }),
        ("m", "timestamptz", ColumnText { timezone: Some("Europe/Berlin".into()), ..usual() }),
        ("p", "decimal(9,2)", ColumnText { decimal_separator: Some(b','), thousands_separator: Some(b'.'), ..usual() }),
        ("f", "double", ColumnText { decimal_separator: Some(b','), ..usual() }),
        ("b", "boolean", ColumnText { true_values: texts(&["ja"]), false_values: texts(&["nein"]), ..usual() }),
        ("n", "long", ColumnText { null_values: texts(&["-", "\u{e9}"]), ..usual() }),
        ("s", "string", ColumnText { null_values: texts(&["NA"]), ..usual() }),
    ];
    let outcome = read_noted(
        &noted,
        concat!(
            r#"{"d":"29.02.2024","m":"2024-07-04T16:05:00","p":"1.234,50","f":"0,5","b":"ja","n":"-","s":"NA"}"#,
            "\n",
            r#"{"d":"1.3.\u0032024","m":"2024-07-04T16:05:00Z","p":1234.5,"f":0.5,"b":false,"n":"\u00e9","s":"na"}"#,
            "\n",
            r#"{"d":null,"b":"nein","n":7}"#,
        ),
    );
    assert_eq!(outcome.rejects, []);
    assert_eq!(
        outcome.rows,
        [
            ["2024-02-29", "2024-07-04T14:05:00Z", "1234.50", "0.5", "true", "NULL", "NULL"],
            ["2024-03-01", "2024-07-04T16:05:00Z", "1234.50", "0.5", "false", "NULL", "na"],
            ["NULL", "NULL", "NULL", "NULL", "false", "7", "NULL"],
        ]
    );
    for (line, reason) in [
        (r#"{"d":"2024-02-29"}"#, "field d has value `\"2024-02-29\"`, expected date, written as `%d.%m.%Y`"),
        (r#"{"f":"0.5"}"#, "field f has value `\"0.5\"`, expected double, with `,` before the fraction"),
        (r#"{"n":"7"}"#, "field n has value `\"7\"`, expected long"),
        (r#"{"b":"true"}"#, "field b has value `\"true\"`, expected boolean, `ja` for true and `nein` for false"),
        (r#"{"d":"\ud800"}"#, "field d has value `\"\\ud800\"`, in which half of a surrogate pair is no character"),
    ] {
        let outcome = read_noted(&noted, line);
        assert_eq!(outcome.rejects.iter().map(|reject| reject.reason.as_str()).collect::<Vec<_>>(), [reason]);
    }
}

#[test]
fn a_zone_that_is_none_is_said_with_the_schema() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    std::fs::write(&path, "{\"m\":\"2024-01-01T00:00:00\"}\n").unwrap();
    let mut source = source(&path, ndjson(), &[("m", "timestamptz")]);
    source.columns[0].text.timezone = Some("Europe/Atlantis".into());
    let error = on_runtime(described(&source)).unwrap_err().to_string();
    assert!(error.starts_with("column m of type timestamptz: timezone `Europe/Atlantis` is not"), "{error}");
}

const NESTED: [(&str, &str); 2] =
    [("s", "struct<a: long, l: list<struct<b: long>>>"), ("m", "map<string, struct<c: long>>")];

fn read_nested(columns: ContractMode, keys: DuplicateKeys, text: &str) -> Outcome {
    let reader = reader_with(&NESTED, keys, |source| {
        source.contract = Contract { columns, types: ContractMode::DiscardValue, ..Contract::default() };
        source.rescued_column = Some("_rescued".to_owned());
    });
    read_serially(&reader, text.as_bytes(), 1 << 16).unwrap()
}

#[test]
fn what_a_struct_does_not_have_is_rescued_under_its_path() {
    let text = r#"{"s":{"a":1,"x":[2],"l":[{"b":1},{"y":"z","b":2}]},"m":{"k":{"w":null,"c":3}},"s.x":true}"#;
    let outcome = read_nested(ContractMode::Evolve, DuplicateKeys::Last, text);
    assert_eq!(outcome.rows[0][..2], ["{a: 1, l: [{b: 1}, {b: 2}]}", "{k: {c: 3}}"]);
    // The key `s.x` is another one than the key `x` inside of `s`: both are kept.
    assert_eq!(outcome.rows[0][2], r#"{"s.x":"[2]","s.l[1].y":"\"z\"","m.k.w":"null","s.x":"true"}"#);
    // A value that is left out as a whole is kept as a whole.
    let whole = read_nested(ContractMode::Evolve, DuplicateKeys::Last, r#"{"s":{"x":1,"a":"no"}}"#);
    assert_eq!((whole.rows[0][0].as_str(), whole.rows[0][2].as_str()), ("NULL", r#"{"s":"{\"x\":1,\"a\":\"no\"}"}"#));
    let broken = read_nested(ContractMode::Evolve, DuplicateKeys::Last, "{\"s\":{\"x\":1,\"a\":}}\n{\"s\":{}}");
    assert_eq!((broken.codes(), broken.rows[0][2].as_str()), (vec!["json.syntax"], "NULL"));
}

#[test]
fn of_a_struct_that_comes_twice_one_is_rescued() {
    let text = r#"{"s":{"x":1,"l":[{"y":1}],"l":[{"z":1}]},"s":{"x":2,"l":[{"v":1}],"l":[{"w":1}]}}"#;
    let rescued = |keys| {
        let outcome = read_nested(ContractMode::DiscardValue, keys, text);
        serde_json::from_str::<Value>(&outcome.rows[0][2]).unwrap()
    };
    assert_eq!(rescued(DuplicateKeys::Last), json!({"s.x": "2", "s.l[0].w": "1"}));
    assert_eq!(rescued(DuplicateKeys::First), json!({"s.x": "1", "s.l[0].y": "1"}));
}

#[test]
fn a_contract_without_new_columns_holds_inside_of_structs() {
    let text = "{\"s\":{\"a\":1}}\n{\"s\":{\"l\":[{\"b\":1,\"new\":2}]}}\n{\"m\":{\"k\":{\"c\":1}}}\n";
    let outcome = read_nested(ContractMode::DiscardRow, DuplicateKeys::Last, text);
    assert_eq!((outcome.rows.len(), outcome.codes()), (2, vec!["contract.column"]));
    let reject = &outcome.rejects[0];
    assert_eq!(
        (reject.reason.as_str(), reject.place.column.as_str()),
        ("row has the key `s.l[0].new`, which is no column, and contract.columns is discard_row", "s.l[0].new")
    );
    assert!(outcome.rows.iter().all(|row| row[2] == "NULL"));
}
