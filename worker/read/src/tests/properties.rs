//! What holds for whatever is written, declared and asked for.

use std::fs;

use moulin_core::NdjsonFormat;
use proptest::prelude::*;

use super::csv_dialect::{read_text, reader};
use super::*;

/// A value of each type, as it is written and as it is shown.
#[derive(Debug, Clone)]
struct Typed {
    long: Option<i64>,
    double: Option<f64>,
    cents: Option<i64>,
    seconds: Option<i64>,
    boolean: Option<bool>,
    text: String,
}

const TYPES: [(&str, &str); 7] = [
    ("l", "long"),
    ("d", "double"),
    ("c", "decimal(18,2)"),
    ("y", "date"),
    ("m", "timestamp"),
    ("b", "boolean"),
    ("t", "string"),
];

fn typed() -> impl Strategy<Value = Typed> {
    let doubles = prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL;
    (
        any::<Option<i64>>(),
        prop::option::of(doubles),
        prop::option::of(-99_999_999_999_999_999_i64..=99_999_999_999_999_999),
        prop::option::of(-62_135_596_800_i64..253_402_300_800),
        any::<Option<bool>>(),
        "([a-z\"é,\r\n ]|\u{1f600}){0,8}",
    )
        .prop_map(|(long, double, cents, seconds, boolean, text)| Typed {
            long,
            double,
            cents,
            seconds,
            boolean,
            text,
        })
}

impl Typed {
    /// The text of each value; `None`: it is null.
    fn texts(&self) -> [Option<String>; 7] {
        let moment = self.seconds.and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
        let cents = |cents: i64| {
            let (sign, cents) = (if cents < 0 { "-" } else { "" }, cents.unsigned_abs());
            format!("{sign}{}.{:02}", cents / 100, cents % 100)
        };
        [
            self.long.map(|long| long.to_string()),
            self.double.map(|double| format!("{double:?}")),
            self.cents.map(cents),
            moment.map(|moment| moment.format("%Y-%m-%d").to_string()),
            moment.map(|moment| moment.format("%Y-%m-%dT%H:%M:%S").to_string()),
            self.boolean.map(|boolean| boolean.to_string()),
            Some(self.text.clone()),
        ]
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Lines of CSV that are rows of two columns more often than not.
fn lines() -> impl Strategy<Value = String> {
    let field =
        prop_oneof![3 => "-?[0-9]{1,4}", 1 => "[0-9]{1,2}\\.[0-9]", 1 => "[a-z]{0,3}", 1 => "\"[a-z,\n]{0,3}\""];
    let row = prop_oneof![8 => (field.clone(), field.clone()).prop_map(|(a, b)| format!("{a},{b}")), 1 => field];
    prop::collection::vec(row, 1..40).prop_map(|rows| rows.iter().flat_map(|row| [row.as_str(), "\n"]).collect())
}

/// Rejects and number of rows of a read with a projection.
fn verdicts(source: &Source, projection: Option<Vec<String>>) -> (Vec<Reject>, u64, usize) {
    let counters = Arc::new(Counters::default());
    let options = ReadOptions { projection, counters: Arc::clone(&counters), ..options(OnBadRow::Skip) };
    let rows = on_runtime(async {
        let fetcher = Fetcher::new(&StorageSettings::default()).unwrap();
        let files = fetcher.list(&source.uris).await.unwrap();
        let schema = schema(&fetcher, source, &files).await.unwrap();
        let read: Vec<RecordBatch> = batches(&fetcher, source, &files, &schema, options).try_collect().await.unwrap();
        read.iter().map(RecordBatch::num_rows).sum()
    });
    (counters.rejects(), counters.rows_read.load(Relaxed), rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(300)))]

    #[test]
    fn typed_values_come_back_from_csv(rows in prop::collection::vec(typed(), 0..20), quotes in any::<bool>()) {
        let header: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        let line = |row: &Typed| {
            let texts = row.texts();
            let field = |(at, text): (usize, &Option<String>)| match text {
                None => String::new(),
                Some(text) if quotes || at == 6 => quoted(text),
                Some(text) => text.clone(),
            };
            texts.iter().enumerate().map(field).collect::<Vec<_>>().join(",") + "\n"
        };
        let text = format!("{}\n{}", header.join(","), rows.iter().map(line).collect::<String>());
        let outcome = read_text(&CsvFormat::default(), &TYPES, &text);
        prop_assert_eq!(&outcome.rejects, &[]);
        prop_assert_eq!(outcome.rows.len(), rows.len());
        for (row, read) in rows.iter().zip(&outcome.rows) {
            for (at, text) in row.texts().into_iter().enumerate() {
                let expected = text.unwrap_or_else(|| "NULL".to_owned());
                if at == 1 && expected != "NULL" {
                    prop_assert_eq!(read[at].parse::<f64>().unwrap().to_bits(), expected.parse::<f64>().unwrap().to_bits());
                } else {
                    prop_assert_eq!(&read[at], &expected);
                }
            }
        }
    }

    #[test]
    fn what_is_declared_always_wins(text in lines(), ty in prop::sample::select(vec!["string", "date", "int", "decimal(5,1)", "boolean"]), at in 0_usize..2) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        fs::write(&path, format!("a,b\n{text}")).unwrap();
        let name = ["a", "b"][at];
        let inferred = on_runtime(schema_of(&source(&path, csv(), &[]))).unwrap();
        let declared = on_runtime(schema_of(&source(&path, csv(), &[(name, ty)]))).unwrap();
        prop_assert_eq!(crate::iceberg_type_name(declared.arrow.field(at).data_type()), ty);
        prop_assert_eq!(declared.origins[at], crate::Origin::Declared);
        // The other column is what it would be.
        prop_assert_eq!(declared.arrow.field(1 - at), inferred.arrow.field(1 - at));
        prop_assert_eq!(declared.origins[1 - at], crate::Origin::Inferred);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(60)))]

    #[test]
    fn the_verdict_on_a_row_does_not_depend_on_the_projection(text in lines(), names in prop::sample::subsequence(vec!["a", "b"], 0..=2)) {
        let dir = tempfile::tempdir().unwrap();
        let (path, json) = (dir.path().join("a.csv"), dir.path().join("a.ndjson"));
        fs::write(&path, format!("a,b\n{text}")).unwrap();
        let line = |line: &str| match line.split_once(',') {
            Some((a, b)) => format!("{{\"a\":{a},\"b\":{b}}}\n"),
            None => format!("{line}\n"),
        };
        fs::write(&json, text.lines().map(line).collect::<String>()).unwrap();
        let types = [("a", "int"), ("b", "decimal(3,1)")];
        for source in [source(&path, csv(), &types), source(&json, Format::Ndjson(NdjsonFormat::default()), &types)] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            prop_assert_eq!(verdicts(&source, Some(names)), verdicts(&source, None));
        }
    }
}

/// A Parquet file of texts is read as the CSV file of the same texts is: the same rows, and the same verdicts.
#[test]
fn texts_of_parquet_are_read_as_those_of_csv() {
    let rows: Vec<[String; 3]> = (1..=2000)
        .map(|id| {
            let price = if id % 331 == 0 { "x".to_owned() } else { format!("{id}.05") };
            let id = if id % 977 == 0 { "1e3".to_owned() } else { id.to_string() };
            [id, format!("name {price}"), price]
        })
        .collect();
    let types = [("id", "long"), ("name", "string"), ("price", "decimal(9,2)")];
    let text = |row: &[String; 3]| row.join(",") + "\n";
    let text = format!("id,name,price\n{}", rows.iter().map(text).collect::<String>());
    let expected = read_serially(&reader(&CsvFormat::default(), &types), text.as_bytes(), 1 << 20).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let column = |at: usize| -> arrow::array::ArrayRef {
        Arc::new(arrow::array::StringArray::from_iter_values(rows.iter().map(|row| row[at].as_str())))
    };
    super::parquet::write(&path, vec![("id", column(0)), ("name", column(1)), ("price", column(2))], 300);
    let outcome = on_runtime(read(&source(&path, Format::Parquet, &types), OnBadRow::Skip)).unwrap();
    let said = |outcome: &Outcome| {
        let reject = |reject: &Reject| (reject.place.record, reject.code.clone(), reject.reason.clone());
        outcome.rejects.iter().map(reject).collect::<Vec<_>>()
    };
    assert_eq!((&outcome.rows, outcome.rows_read, said(&outcome)), (&expected.rows, 2000, said(&expected)));
    assert_eq!(outcome.rejects.len(), 8);
}
