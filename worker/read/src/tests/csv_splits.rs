//! However a file is cut into blocks and windows, and whichever way a window is read, the same comes of it.

use moulin_core::CsvFormat;
use proptest::prelude::*;

use super::csv_dialect::reader;
use super::*;

const THREE: [(&str, &str); 3] = [("a", "string"), ("b", "string"), ("c", "string")];

fn headless() -> CsvFormat {
    CsvFormat { header: false, ..CsvFormat::default() }
}

/// What a receipt holds of the rejects: every block keeps its first ten, and so the file's first ten are there.
fn kept(outcome: &Outcome) -> &[Reject] {
    &outcome.rejects[..outcome.rejects.len().min(Counters::REJECTS_KEPT)]
}

/// Text that is CSV more often than not.
fn text() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        4 => "[a-z0-9é ]{0,6}",
        2 => "\"([a-z,\n]|\r\n|\"\"){0,6}\"",
        1 => "[a\",]{0,4}",
    ];
    let row = prop::collection::vec(field, 1..6).prop_map(|fields| fields.join(","));
    let row = prop_oneof![6 => row.clone(), 4 => (row, "[xyz]{0,3}", "[xyz]{0,3}").prop_map(|(a, b, c)| format!("{},{b},{c}", a.split(',').next().unwrap_or("")))];
    let end = prop_oneof![5 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\n\n")];
    (prop::collection::vec((row, end), 0..12), any::<bool>()).prop_map(|(rows, ends)| {
        let mut text: String = rows.iter().flat_map(|(row, end)| [row.as_str(), end]).collect();
        if !ends {
            text.truncate(text.trim_end().len());
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn fields_are_what_the_csv_crate_says(text in text(), block in 1_usize..80, window in 0_usize..100) {
        // A line end must be seen in the first block, or the file is taken for one with CR.
        prop_assume!(!text.contains('\r') || block > text.find('\n').unwrap_or(0));
        let outcome = read_serially(&reader(&headless(), &THREE).with_window(window), text.as_bytes(), block).unwrap();
        let mut theirs = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let theirs: Vec<Vec<String>> = theirs.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
        prop_assert_eq!(outcome.rows_read, theirs.len() as u64);
        // The csv crate is content with text after a closing quote, and with a quote that is never closed.
        if outcome.rejects.iter().all(|reject| reject.code == "csv.field_count") {
            let fitting: Vec<_> = theirs.into_iter().filter(|row| row.len() == 3).collect();
            prop_assert_eq!(outcome.rows, fitting);
        }
    }

    #[test]
    fn blocks_and_windows_change_nothing(text in text(), block in 1_usize..80, window in 0_usize..100) {
        prop_assume!(!text.contains('\r') || block > text.find('\n').unwrap_or(0));
        let serial = read_serially(&reader(&headless(), &THREE).with_window(0), text.as_bytes(), 1 << 20).unwrap();
        let split = read_serially(&reader(&headless(), &THREE).with_window(window), text.as_bytes(), block).unwrap();
        prop_assert_eq!(&split.rows, &serial.rows);
        prop_assert_eq!(split.rows_read, serial.rows_read);
        prop_assert_eq!(kept(&split), kept(&serial));
    }

    #[test]
    fn typed_columns_are_split_alike(
        rows in prop::collection::vec(("-?[0-9]{0,12}|NA|\"[0-9]{1,3}\"", "[0-9]{0,9}(\\.[0-9]{0,3})?|NA", "20[0-9]{2}-[01][0-9]-[0-3][0-9]|NA|"), 0..40),
        block in 1_usize..200,
        window in 0_usize..300,
    ) {
        let types = [("i", "int"), ("d", "decimal(9,2)"), ("y", "date")];
        let format = CsvFormat { null_values: vec!["NA".into(), "0".into()], comment: Some("#".into()), ..headless() };
        let text: String = rows.iter().map(|(i, d, y)| format!("{i},{d},{y}\n")).collect();
        let serial = read_serially(&reader(&format, &types).with_window(0), text.as_bytes(), 1 << 20).unwrap();
        let split = read_serially(&reader(&format, &types).with_window(window), text.as_bytes(), block).unwrap();
        prop_assert_eq!(&split.rows, &serial.rows);
        prop_assert_eq!(kept(&split), kept(&serial));
    }

    #[test]
    fn columns_with_notations_are_split_alike(
        rows in prop::collection::vec(
            ("-?[0-9]{1,3}(\\.[0-9]{3}){0,2}(,[0-9]{0,3})?|[0-9.,]{0,6}|NA", "[0-3][0-9]\\.[01][0-9]\\.20[0-9]{2}|-|", "ja|nein|true|\"ja\"|x", "20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:30(Z|\\+01:00)?"),
            0..40,
        ),
        block in 8_usize..200,
        window in 0_usize..300,
    ) {
        let types = [("n", "decimal(9,2)"), ("d", "date"), ("b", "boolean"), ("z", "timestamptz")];
        let words = |word: &str| vec![word.to_owned()];
        let format = CsvFormat {
            delimiter: ";".into(),
            decimal_separator: b',',
            thousands_separator: Some(b'.'),
            date_format: Some("%d.%m.%Y".into()),
            timezone: Some("Europe/Berlin".into()),
            true_values: words("ja"),
            false_values: words("nein"),
            null_values: vec!["NA".into(), "-".into()],
            ..headless()
        };
        let text: String = rows.iter().map(|(n, d, b, z)| format!("{n};{d};{b};{z}\n")).collect();
        let serial = read_serially(&reader(&format, &types).with_window(0), text.as_bytes(), 1 << 20).unwrap();
        let split = read_serially(&reader(&format, &types).with_window(window), text.as_bytes(), block).unwrap();
        prop_assert_eq!(&split.rows, &serial.rows);
        prop_assert_eq!(split.rows_read, serial.rows_read);
        prop_assert_eq!(kept(&split), kept(&serial));
    }
}
