//! The invariants of the fuzz targets, for generated cases and for inputs that once broke them.

use proptest::prelude::*;

use super::*;
use crate::fuzzing;

/// Bytes that mean something to a reader, more often than not, after the bytes that choose how they are read.
fn case(choices: impl Strategy<Value = Vec<u8>>, words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec());
    let piece = prop_oneof![12 => word, 1 => prop::collection::vec(any::<u8>(), 1..4)];
    let ends = prop_oneof![2 => Just(""), 1 => Just("\n")];
    let file = (prop::collection::vec(piece, 0..60), ends)
        .prop_map(|(pieces, end)| [&pieces.concat(), end.as_bytes()].concat());
    (choices, file).prop_map(|(choices, file)| [choices, file].concat())
}

fn bytes(count: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), count)
}

/// The sixth byte says whether the dialect is a plain one, which has fewer options.
fn csv_choices() -> impl Strategy<Value = Vec<u8>> {
    let with = |at: usize, odd: u8| {
        move |mut bytes: Vec<u8>| {
            bytes[at] = (bytes[at] & !1) | odd;
            bytes
        }
    };
    prop_oneof![bytes(11).prop_map(with(5, 0)), bytes(21).prop_map(with(5, 1))]
}

const CSV: &[&str] = &[
    ",",
    ",",
    ",",
    ";",
    "\t",
    "|",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\"",
    "\"",
    "\"\"",
    "\\",
    "||",
    "--",
    "\r",
    "'",
    "''",
    "#",
    "a",
    "é",
    "12",
    "-7.5",
    "NA",
    "2024-02-29",
    " ",
    "a,b,c\n",
    "1,2.50,2024-01-31\n",
    "\"a,\n\",b,c\n",
];

const JSON: &[&str] = &[
    "{\"s\":\"a\",\"n\":1,\"d\":0.5,\"b\":true}\n",
    "{",
    "}",
    "\"s\":",
    "\"n\":",
    "\"d\":",
    "\"b\":",
    "\"x\":",
    ",",
    ",",
    "\n",
    "\n",
    "\r\n",
    "\"a\"",
    "\"\\u00e9\\n\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"",
    "\\",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-17",
    "9007199254740993",
    "1e3",
    "1e999",
    "0.1",
    "01",
    "9223372036854775808",
    "[",
    "]",
    "[1,{}]",
    " ",
    "\t",
    "\u{1}",
    "{}\n",
];

const TYPED: &[&str] = &[
    ",",
    ",",
    ",",
    "\n",
    "\n",
    "\n",
    "1",
    "-20",
    "2.5",
    "1e3",
    "007",
    "12345678901234567890",
    "true",
    "FALSE",
    "2024-02-29",
    "2023-02-29",
    "2024-01-01 10:00:00",
    "2024-01-01T10:00:00Z",
    "nan",
    "inf",
    "NA",
    "",
    "\"",
    "\"5\"",
    "x",
    "+4",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(2000)))]

    #[test]
    fn csv_is_read_alike_in_every_way_and_by_csv_core(case in case(csv_choices(), CSV)) {
        fuzzing::csv(&case);
    }

    #[test]
    fn ndjson_is_read_alike_in_every_way_and_by_serde_json(case in case(bytes(3), JSON)) {
        fuzzing::ndjson(&case);
    }

    #[test]
    fn what_is_inferred_fits_and_never_narrows(case in case(bytes(2), TYPED)) {
        fuzzing::infer(&case);
    }
}

/// A last record without line end is a block of its own, and was no part of the sample.
#[test]
fn the_last_line_of_a_small_file_is_sampled() {
    fuzzing::infer(b"\x00\x00x,1\n\n,2.5");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    std::fs::write(&path, "{\"a\":1}\n{\"a\":2.5}").unwrap();
    let source = source(&path, Format::Ndjson(Default::default()), &[]);
    assert_eq!(on_runtime(described(&source)).unwrap(), "a double inferred");
}

/// A number that is zero for a double, and no long.
#[test]
fn a_fraction_too_small_for_a_double_is_no_long() {
    fuzzing::ndjson(b"\t\x00\x00\n\t{\"s\":\"a\",\"n\":-1.5e-78446744073709551612}\n");
}

#[test]
fn a_byte_order_mark_is_none_of_the_first_line_however_short_lines_may_be() {
    fuzzing::ndjson(b"r\x01\x00\xef\xbb\xbfu\x14,\n\n");
}
