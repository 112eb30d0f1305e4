//! The files of csv-spectrum (npm) mean what their JSON says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

use super::*;

/// The folder of the files, fetched when it is not there. Without network and cache the test fails: nothing is skipped.
fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let told = Command::new("python3").arg(root.join("scripts/csv_spectrum.py")).output().expect("python3 is there");
    assert!(told.status.success(), "csv-spectrum was not fetched: {}", String::from_utf8_lossy(&told.stderr));
    PathBuf::from(String::from_utf8(told.stdout).unwrap().trim())
}

#[test]
fn csv_spectrum_is_read_as_its_json_says() {
    let folder = folder();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.join("csvs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let json = std::fs::read(folder.join("json").join(format!("{name}.json"))).unwrap();
        // One of the files means one row, and its JSON is that row without the list.
        let expected: Vec<Map<String, Value>> = match serde_json::from_slice(&json).unwrap() {
            Value::Object(row) => vec![row],
            rows => serde_json::from_value(rows).unwrap(),
        };
        let names: Vec<&str> = expected[0].keys().map(String::as_str).collect();
        let declared: Vec<(&str, &str)> = names.iter().map(|name| (*name, "string")).collect();
        let outcome = on_runtime(read(&source(&path, csv(), &declared), OnBadRow::Fail)).unwrap();
        let mut expected: Vec<Vec<&str>> =
            expected.iter().map(|row| names.iter().map(|name| row[*name].as_str().unwrap()).collect()).collect();
        if name == "location_coordinates" {
            // Its JSON holds another number than its CSV.
            assert_eq!((expected[0][0], outcome.rows[0][0].as_str()), ("1234567890", "2095257564"));
            expected[0][0] = "2095257564";
        }
        assert_eq!(outcome.rows, expected, "{name}");
        files += 1;
    }
    assert_eq!(files, 12, "files of csv-spectrum 2.0.0");
}
