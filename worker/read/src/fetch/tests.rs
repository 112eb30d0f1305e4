use std::fs;
use std::path::Path;

use moulin_core::{Fault, FaultKind};
use proptest::prelude::*;

use super::*;

fn list(uris: &[String]) -> Result<Vec<String>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
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
fn a_file_is_one_however_its_path_is_written() {
    let dir = tree();
    let path = |name: &str| format!("file://{}/{name}", dir.path().display());
    let uris = ["a1.csv", "./a1.csv", ".//a1.csv", "./a1.cs?"].map(path);
    assert_eq!(list(&uris).unwrap(), [path("a1.csv")]);
    // Where a link leads only the file system knows.
    std::os::unix::fs::symlink("sub/deep", dir.path().join("link")).unwrap();
    assert_eq!(list(&[path("link/../c.csv")]).unwrap(), [path("link/../c.csv")]);
}

#[test]
fn a_file_whose_name_is_no_utf8_is_named_when_a_pattern_may_mean_it() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = tree();
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.csv")), "x").unwrap();
    for pattern in ["*.csv", "**/*.csv", "caf*.csv"] {
        let error = list(&[format!("file://{}/{pattern}", dir.path().display())]).unwrap_err().to_string();
        assert!(error.contains("caf\u{fffd}.csv is not UTF-8"), "{pattern}: {error}");
    }
    assert_eq!(found(dir.path(), "b*.csv"), ["b.csv"]);
}

#[test]
fn only_hexadecimal_digits_behind_a_percent_sign_are_a_byte() {
    for (text, expected) in [("a%20b", "a b"), ("100%+5", "100%+5"), ("%-1%2", "%-1%2"), ("%C3%a9", "é")] {
        assert_eq!(percent_decoded(text), expected);
    }
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tree();
    for name in ["no.csv", "no*.csv", "no/**/x.csv", "b.csv/x.csv"] {
        let uri = format!("file://{}/{name}", dir.path().display());
        let error = list(std::slice::from_ref(&uri)).unwrap_err();
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
        let error = list(std::slice::from_ref(&uri)).unwrap_err();
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

/// A store with these keys, each holding `size` bytes that differ.
fn store(keys: &[&str], size: usize) -> Arc<dyn ObjectStore> {
    let store = object_store::memory::InMemory::new();
    let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    on_runtime(async {
        for key in keys {
            object_store::ObjectStoreExt::put(&store, &(*key).into(), bytes.clone().into()).await.unwrap();
        }
    });
    Arc::new(store)
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap().block_on(work)
}

fn object(file: &PlannedFile, store: &Arc<dyn ObjectStore>) -> Object {
    let store = Arc::clone(store);
    let path = remote(&file.uri).object_path(&file.uri).unwrap();
    Object { file: Arc::new(file.clone()), path, store, silence: None }
}

fn remote(uri: &str) -> Remote {
    let Location::Remote(remote) = Location::parse(uri).unwrap() else { panic!("{uri} is not remote") };
    remote
}

#[test]
fn keys_of_a_store_are_matched_like_paths() {
    let store =
        store(&["raw/2024/a.csv", "raw/2024/b.csv", "raw/2025/c.csv", "raw/2025/.d.csv", "rawer/e.csv", "top.csv"], 3);
    let found = |uri: &str| on_runtime(list::remote(uri, &remote(uri), store.as_ref()));
    let uris = |uri: &str| found(uri).unwrap().into_iter().map(|file| (file.uri, file.size_bytes)).collect::<Vec<_>>();
    let expected = |keys: &[&str]| keys.iter().map(|key| (format!("s3://b/{key}"), 3)).collect::<Vec<_>>();
    assert_eq!(uris("s3://b/raw/*/[ac].csv"), expected(&["raw/2024/a.csv", "raw/2025/c.csv"]));
    assert_eq!(uris("s3://b/**/*.csv").len(), 5);
    assert_eq!(uris("s3://b/top.csv"), expected(&["top.csv"]));
    for uri in ["s3://b/no.csv", "s3://b/raw/*.csv"] {
        assert_eq!(found(uri).unwrap_err().to_string(), format!("no file at {uri}"));
    }
}

#[test]
fn a_large_object_comes_whole_and_an_exchanged_one_not_at_all() {
    let size = 11 << 20;
    let store = store(&["k"], size);
    let uri = "s3://b/k";
    let mut file = on_runtime(list::remote(uri, &remote(uri), store.as_ref())).unwrap().remove(0);
    let read = |file: PlannedFile| {
        let counters = Arc::new(Counters::default());
        let bytes = on_runtime(async {
            let stop = CancellationToken::new();
            let mut stream = remote::stream(object(&file, &store), Arc::clone(&counters), &Handle::current(), &stop);
            let read = move || {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut stream, &mut bytes).map(|_| bytes)
            };
            tokio::task::spawn_blocking(read).await.unwrap()
        });
        (bytes.map_err(|error| into_error(uri, error)), counters.snapshot().bytes_done)
    };
    let (bytes, counted) = read(file.clone());
    let bytes = bytes.unwrap();
    assert!(bytes.len() == size && bytes.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    assert_eq!(counted, size as u64);
    let parts = on_runtime(object(&file, &store).ranges(&[5..8, 0..2])).unwrap();
    assert_eq!(parts, [&[5_u8, 6, 7][..], &[0, 1][..]]);
    file.etag = Some("another".to_owned());
    assert!(read(file).0.unwrap_err().to_string().ends_with("is damaged: it has changed since it was listed"));
}

#[test]
fn stopping_ends_a_stream_that_nobody_reads() {
    let store = store(&["k"], 64 << 20);
    let uri = "s3://b/k";
    let file = on_runtime(list::remote(uri, &remote(uri), store.as_ref())).unwrap().remove(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let stop = CancellationToken::new();
    let mut stream = remote::stream(object(&file, &store), Arc::default(), runtime.handle(), &stop);
    let mut first = [0; 10];
    std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    stop.cancel();
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut rest).unwrap();
    assert!(rest.len() < 64 << 20, "what was under way comes, and then the end");
}

#[test]
fn a_relative_path_that_is_not_there_is_named_with_its_folder() {
    let (uri, folder) = ("no-such-folder/a.csv", std::env::current_dir().unwrap());
    let error = on_runtime(Fetcher::new(&StorageSettings::default()).unwrap().list(&[uri.to_owned()])).unwrap_err();
    assert_eq!(error.to_string(), format!("no file at {uri}, which is {}/{uri}", folder.display()));
}

/// A web server with one file of 8 bytes, of which it hands out so many and then falls silent. Answers its uri.
fn silent_after(bytes: usize) -> String {
    use std::io::{BufRead, Write};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/a.csv", server.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            let asked: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let is_head = asked.first().is_some_and(|line| line.starts_with("HEAD"));
            let ranged = asked.iter().any(|line| line.to_ascii_lowercase().starts_with("range:"));
            let status = if ranged { "206 Partial Content\r\nContent-Range: bytes 0-7/8" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: 8\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            if !is_head {
                stream.write_all(&b"a,b\n1,2\n"[..bytes]).unwrap();
                open.push(stream);
            }
        }
    });
    uri
}

#[test]
fn a_web_server_that_falls_silent_is_an_error_and_a_slow_one_is_not() {
    let options = stores::http_options();
    assert_eq!(options.get_config_value(&object_store::ClientConfigKey::Timeout), None, "a limit for the whole answer");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fetcher = Fetcher::with_silence(&StorageSettings::default(), Duration::from_millis(100));
    let uri = silent_after(5);
    let file = runtime.block_on(fetcher.list(std::slice::from_ref(&uri))).unwrap().remove(0);
    let stop = CancellationToken::new();
    let mut stream = fetcher.open(&file, &Arc::default(), runtime.handle(), &stop).unwrap();
    let mut read = Vec::new();
    let error = std::io::Read::read_to_end(&mut stream, &mut read).unwrap_err();
    assert_eq!(read, b"a,b\n1");
    let errors = [
        into_error(&uri, error),
        fetcher.ranges(&file, std::slice::from_ref(&(0..8)), &Counters::default(), runtime.handle()).unwrap_err(),
    ];
    for error in errors {
        let chain = format!("{error:?}");
        assert!(chain.contains("no byte came for 100ms"), "{chain}");
    }
}
