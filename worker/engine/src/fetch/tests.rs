use std::fs;
use std::path::Path;

use moulin_core::{Fault, FaultKind};
use proptest::prelude::*;

use super::*;

fn list(uris: &[String]) -> Result<Vec<String>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fetcher = Fetcher::new(&StorageSettings::default())?;
    Ok(runtime.block_on(fetcher.list(uris))?.into_iter().map(|file| file.uri).collect())
}

/// A folder with files, and what a pattern in it finds.
fn found(root: &Path, pattern: &str) -> Vec<String> {
    let prefix = format!("file://{}/", root.display());
    let uris = list(&[format!("{prefix}{pattern}")]).unwrap();
    uris.into_iter().map(|uri| uri.strip_prefix(&prefix).unwrap().to_owned()).collect()
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "a1.csv",
        "a2.csv",
        "b.csv",
        ".hidden.csv",
        "sub/c.csv",
        "sub/deep/d.csv",
        "sub/deep/e.txt",
        ".git/f.csv",
        "odd [1].csv",
        "100%.csv",
        "{x}.csv",
    ] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    dir
}

#[test]
fn patterns_find_files() {
    let dir = tree();
    let table: [(&str, &[&str]); 11] = [
        ("a*.csv", &["a1.csv", "a2.csv"]),
        ("a?.csv", &["a1.csv", "a2.csv"]),
        ("[ab].csv", &["b.csv"]),
        ("*/c.csv", &["sub/c.csv"]),
        (
            "**/*.csv",
            &["100%.csv", "a1.csv", "a2.csv", "b.csv", "odd [1].csv", "sub/c.csv", "sub/deep/d.csv", "{x}.csv"],
        ),
        ("sub/**", &["sub/c.csv", "sub/deep/d.csv", "sub/deep/e.txt"]),
        ("sub/**/d.csv", &["sub/deep/d.csv"]),
        (".*.csv", &[".hidden.csv"]),
        ("odd [1].csv", &["odd [1].csv"]),
        ("{*}.csv", &["{x}.csv"]),
        ("100%25.csv", &["100%.csv"]),
    ];
    for (pattern, expected) in table {
        assert_eq!(found(dir.path(), pattern), expected, "{pattern}");
    }
}

#[test]
fn a_file_is_listed_once_and_in_order() {
    let dir = tree();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let uris = list(&[path("b.csv"), format!("file://{}", path("b.csv")), path("a*.csv")]).unwrap();
    assert_eq!(uris, ["a1.csv", "a2.csv", "b.csv"].map(|name| format!("file://{}", path(name))));
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tree();
    for name in ["no.csv", "no*.csv", "no/**/x.csv", "b.csv/x.csv"] {
        let uri = format!("file://{}/{name}", dir.path().display());
        let error = list(&[uri.clone()]).unwrap_err();
        assert_eq!(error.to_string(), format!("no file at {uri}"));
        assert_eq!(Fault::from(error).kind, FaultKind::NotFound);
    }
}

#[test]
fn a_uri_that_names_no_file_is_refused() {
    let dir = tree();
    for (uri, reason) in [
        (format!("file://{}/sub", dir.path().display()), "it is a folder"),
        ("ftp://host/a.csv".to_owned(), "there is no store for its scheme"),
        ("s3://bucket".to_owned(), "it names no file"),
        ("file://relative.csv".to_owned(), "a file uri holds an absolute path"),
    ] {
        let error = list(&[uri.clone()]).unwrap_err();
        assert!(error.to_string().contains(reason), "{uri}: {error}");
        assert_eq!(Fault::from(error).kind, FaultKind::InvalidSpec);
    }
}

proptest! {
    #[test]
    fn a_walk_finds_what_the_pattern_matches(pattern in prop::collection::vec(prop_oneof![Just("**"), Just("*"), Just("s*"), Just("*.csv"), Just("sub"), Just("deep"), Just("[a-d]?.csv")], 1..4)) {
        let dir = tree();
        let pattern = pattern.join("/");
        let segments = pattern::parse("x", &pattern).unwrap();
        let all = ["a1.csv", "a2.csv", "b.csv", ".hidden.csv", "sub/c.csv", "sub/deep/d.csv", "sub/deep/e.txt", ".git/f.csv", "odd [1].csv", "100%.csv", "{x}.csv"];
        let mut expected: Vec<String> = all.iter().filter(|path| pattern::matches(&segments, &path.split('/').collect::<Vec<_>>())).map(|path| (*path).to_owned()).collect();
        expected.sort();
        let uri = format!("file://{}/{pattern}", dir.path().display());
        prop_assert_eq!(list(&[uri]).map_or(Vec::new(), |_| found(dir.path(), &pattern)), expected);
    }
}
