//! Files in other encodings: places are those of the file, not of the text that is made of it.

use std::fs;

use moulin_core::{CsvFormat, Encoding, ProvenanceColumn, ReadLimits, RejectedRow};

use super::rejects::{Seen, quarantined};
use super::*;

type Encode = fn(&str) -> Vec<u8>;

const LITTLE: Encode = |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
const BIG: Encode = |text| text.encode_utf16().flat_map(u16::to_be_bytes).collect();
const BYTES: Encode = |text| text.chars().map(|character| u8::try_from(character).unwrap_or(0x80)).collect();

const LIMIT: usize = 3_000;

/// Rows of which some are bad, and some of those too long; the bytes of the bad ones, and the places of the good ones.
fn file(mark: &str, euro: char, encode: Encode) -> (Vec<u8>, Vec<Seen>, Vec<String>) {
    let mut bytes = encode(&format!("{mark}n,t\n"));
    let (mut expected, mut offsets, mut line) = (Vec::new(), Vec::new(), 2);
    for n in 1..=1200_usize {
        let (row, code) = match n % 300 {
            3 => (format!("bad{n}{euro},é"), Some("type.long")),
            4 => (format!("{n},\"{}\r\n{euro}\",", "é".repeat(n % 7)), Some("csv.field_count")),
            5 => (format!("{n},{}", format!("{euro}é").repeat(LIMIT)), Some("csv.record_bytes")),
            _ => (format!("{n},\"é\n{euro}{n}\""), None),
        };
        let offset = bytes.len();
        match code {
            Some(code) => {
                let [record, line, offset, length] = [n, line, offset, encode(&row).len()].map(|n| n as i64);
                expected.push((record, line, offset, length, code.to_owned(), encode(&row)));
            }
            None => offsets.push(offset.to_string()),
        }
        line += 1 + row.matches('\n').count();
        bytes.extend(encode(&row));
        bytes.extend(encode(if n % 2 == 0 { "\r\n" } else { "\n" }));
    }
    (bytes, expected, offsets)
}

#[test]
fn places_are_those_of_the_file_whatever_its_encoding() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    for (encoding, mark, euro, encode) in [
        (Encoding::Latin1, "", '§', BYTES),
        (Encoding::Windows1252, "", '€', BYTES),
        (Encoding::Utf16Le, "", '🐎', LITTLE),
        (Encoding::Utf16Be, "", '€', BIG),
        (Encoding::Auto, "\u{feff}", '🐎', LITTLE),
    ] {
        let (bytes, expected, offsets) = file(mark, euro, encode);
        fs::write(&path, &bytes).unwrap();
        for (threads, batch_bytes) in [(1, 1), (3, 900), (2, 4 << 20)] {
            let mut source =
                source(&path, Format::Csv(CsvFormat { encoding, ..CsvFormat::default() }), &[("n", "long")]);
            source.limits = ReadLimits { record_bytes: LIMIT as u64, ..ReadLimits::default() };
            source.provenance_columns = vec![ProvenanceColumn::Offset];
            let options = ReadOptions { threads, batch_bytes, ..options(OnBadRow::Quarantine) };
            let (outcome, rejects) = on_runtime(quarantined(&source, options));
            let found: Vec<String> = outcome.unwrap().rows.iter().map(|row| row[2].clone()).collect();
            assert!(
                found == offsets,
                "{encoding:?}: {:?}",
                found.iter().zip(&offsets).find(|(one, other)| one != other)
            );
            assert_eq!(rejects.len(), expected.len(), "{encoding:?}");
            for (seen, expected) in rejects.iter().zip(&expected) {
                assert_eq!(
                    (seen.0, seen.1, seen.2, seen.3),
                    (expected.0, expected.1, expected.2, expected.3),
                    "{encoding:?}"
                );
                assert_eq!(seen.4, expected.4, "{encoding:?}");
                assert!(seen.5 == expected.5, "{encoding:?} {:?}", String::from_utf8_lossy(&seen.5));
                let at = seen.2 as usize;
                assert!(bytes[at..at + seen.3 as usize] == seen.5);
            }
        }
    }
}

#[test]
fn what_is_no_character_has_its_place_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let units = |text: &[u16]| text.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>();
    let line = units(&[b'a'.into(), b'\n'.into()]);
    let lone = units(&[0xd83d, b'x'.into()]);
    // A line end by its number, and none: it is half a character.
    let half = [units(&[b'y'.into()]), vec![b'\n']].concat();
    fs::write(&path, [line.clone(), lone.clone(), units(&[b'\n'.into()]), half.clone()].concat()).unwrap();
    let format = Format::Csv(CsvFormat { encoding: Encoding::Utf16Le, ..CsvFormat::default() });
    let (_, rejects) =
        on_runtime(quarantined(&source(&path, format, &[("a", "string")]), options(OnBadRow::Quarantine)));
    let utf8 = "utf8".to_owned();
    assert_eq!(rejects, [(1, 2, 4, 4, utf8.clone(), lone), (2, 3, 10, 3, utf8, half)]);
}

#[test]
fn of_long_rows_the_first_bytes_of_the_file_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    for (encoding, euro, encode) in
        [(Encoding::Windows1252, '€', BYTES), (Encoding::Utf16Be, '€', BIG), (Encoding::Utf16Le, '🐎', LITTLE)]
    {
        // One is held whole, and the other one is passed over.
        let [held, passed] = [40_000, 200_000].map(|count| encode(&format!("x{}", String::from(euro).repeat(count))));
        fs::write(&path, [encode("n\n"), held.clone(), encode("\n"), passed.clone(), encode("\n")].concat()).unwrap();
        let format = Format::Csv(CsvFormat { encoding, ..CsvFormat::default() });
        let mut source = source(&path, format, &[("n", "long")]);
        source.limits = ReadLimits { record_bytes: 160_100, ..ReadLimits::default() };
        let (_, rejects) = on_runtime(quarantined(&source, options(OnBadRow::Quarantine)));
        let codes: Vec<&str> = rejects.iter().map(|seen| seen.4.as_str()).collect();
        assert_eq!(codes, ["type.long", "csv.record_bytes"], "{encoding:?}");
        for (seen, row) in rejects.iter().zip([&held, &passed]) {
            assert_eq!(seen.3, row.len() as i64, "{encoding:?}");
            assert!(seen.5 == row[..row.len().min(RejectedRow::RAW_BYTES)], "{encoding:?}: {} bytes", seen.5.len());
        }
    }
}
