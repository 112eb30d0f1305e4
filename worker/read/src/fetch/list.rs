//! Patterns become files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use moulin_core::PlannedFile;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::location::{Location, Remote};
use super::pattern::{self, Segment};
use super::stream::io_error;
use crate::Error;

/// Files of this machine. A name that exists as it is written is that file, wildcards or not.
pub(super) fn local(uri: &str, path: &Path) -> Result<Vec<PlannedFile>, Error> {
    // A relative path says nothing without the folder that it was looked for in.
    let is_relative = !uri.contains("://") && !Path::new(uri).is_absolute();
    let said = if is_relative { format!("{uri}, which is {}", path.display()) } else { uri.to_owned() };
    let not_found = || Error::FileNotFound { uri: said.clone() };
    if let Some(file) = local_file(uri, path)? {
        return Ok(vec![file]);
    }
    let text = path.to_str().ok_or_else(|| Error::Uri { uri: uri.to_owned(), reason: "it is not UTF-8".to_owned() })?;
    if uri.starts_with("file:")
        && text.contains('%')
        && let Some(file) = local_file(uri, Path::new(&percent_decoded(text)))?
    {
        return Ok(vec![file]);
    }
    if !pattern::is_pattern(text) {
        return Err(not_found());
    }
    let mut found = Vec::new();
    walk(uri, Path::new("/"), &pattern::parse(uri, text)?, &mut found)?;
    if found.is_empty() { Err(not_found()) } else { Ok(found) }
}

fn local_file(uri: &str, path: &Path) -> Result<Option<PlannedFile>, Error> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(Error::Uri {
            uri: uri.to_owned(),
            reason: "it is a folder; name files, or a pattern such as folder/*.csv".to_owned(),
        }),
        Ok(meta) => Ok(Some(PlannedFile { uri: uri_of(uri, path)?, size_bytes: meta.len(), etag: local_tag(&meta) })),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(io_error(uri, error)),
    }
}

/// What tells the contents of a local file apart, with its size: inode, time of modification and time of change, in
/// nanoseconds.
///
/// No hash of the content: that would read every file twice. The time of modification alone would not do, since anybody
/// can set it (`cp -p`, `touch -d`, `tar x`); the time of change is the kernel's own and moves with every write. So a file
/// whose content differs has another tag. The other way round a tag may move without the content, by `chmod` or `mv` back
/// and forth: such a file counts as a new one. `None` for what is no plain file.
pub(super) fn local_tag(meta: &fs::Metadata) -> Option<String> {
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (modified, changed) = (nanos(meta.mtime(), meta.mtime_nsec()), nanos(meta.ctime(), meta.ctime_nsec()));
    meta.is_file().then(|| format!("{:x}-{modified:x}-{changed:x}", meta.ino()))
}

/// Checks that a local file is what it was when it was listed.
pub(super) fn local_unchanged(file: &PlannedFile) -> Result<(), Error> {
    let Location::Local(path) = Location::parse(&file.uri)? else { return Ok(()) };
    let Some(tag) = &file.etag else { return Ok(()) };
    let meta = fs::metadata(path).map_err(|error| io_error(&file.uri, error))?;
    if local_tag(&meta).as_ref() == Some(tag) && meta.len() == file.size_bytes {
        return Ok(());
    }
    let reason = "it has changed since it was listed".to_owned();
    Err(Error::BadFile { uri: file.uri.clone(), reason })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
}

fn uri_of(uri: &str, path: &Path) -> Result<String, Error> {
    let text = path
        .to_str()
        .ok_or_else(|| Error::Uri { uri: uri.to_owned(), reason: format!("{} is not UTF-8", path.display()) })?;
    Ok(format!("file://{text}"))
}

fn walk(uri: &str, folder: &Path, segments: &[Segment], found: &mut Vec<PlannedFile>) -> Result<(), Error> {
    let Some((segment, rest)) = segments.split_first() else { return Ok(()) };
    if let Segment::Name(name) = segment {
        return visit(uri, folder.join(name), rest, found);
    }
    if matches!(segment, Segment::AnyFolders) {
        // None of the folders `**` may stand for; or, at the end of the pattern, each file here.
        walk(uri, folder, rest, found)?;
    }
    for (path, is_link) in entries(uri, folder, segment)? {
        match segment {
            // Links to folders are not followed here: they may lead in a circle.
            Segment::AnyFolders if path.is_dir() => {
                if !is_link {
                    walk(uri, &path, segments, found)?;
                }
            }
            Segment::AnyFolders if !rest.is_empty() => {}
            _ => visit(uri, path, rest, found)?,
        }
    }
    Ok(())
}

/// A path that matches so far: a file when the pattern ends here, else a folder to go on in.
fn visit(uri: &str, path: PathBuf, rest: &[Segment], found: &mut Vec<PlannedFile>) -> Result<(), Error> {
    if !rest.is_empty() {
        return if path.is_dir() { walk(uri, &path, rest, found) } else { Ok(()) };
    }
    match fs::metadata(&path) {
        Ok(meta) if meta.is_file() => {
            found.push(PlannedFile { uri: uri_of(uri, &path)?, size_bytes: meta.len(), etag: local_tag(&meta) });
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(io_error(uri, error)),
    }
}

fn entries(uri: &str, folder: &Path, segment: &Segment) -> Result<Vec<(PathBuf, bool)>, Error> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(io_error(uri, error)),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|error| io_error(uri, error))?;
        // A name that is no text is found by what can be read of it: what is not read is not passed over in silence.
        if segment.matches(&entry.file_name().to_string_lossy()) {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            entries.push((entry.path(), is_link));
        }
    }
    entries.sort();
    Ok(entries)
}

/// The text with `%20` and the like as the bytes they stand for; as it is when those are no UTF-8.
pub(crate) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|digits| Some(hex(digits[0])? << 4 | hex(digits[1])?)) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Objects of a store.
pub(super) async fn remote(uri: &str, remote: &Remote, store: &dyn ObjectStore) -> Result<Vec<PlannedFile>, Error> {
    if remote.is_http() || !pattern::is_pattern(&remote.path) {
        let path = remote.object_path(uri)?;
        return match store.head(&path).await {
            Ok(meta) => Ok(vec![planned(uri.to_owned(), &meta)]),
            Err(object_store::Error::NotFound { .. }) => Err(Error::FileNotFound { uri: uri.to_owned() }),
            Err(source) => Err(Error::Store { uri: uri.to_owned(), source }),
        };
    }
    let segments = pattern::parse(uri, &remote.path)?;
    let folders: Vec<&str> =
        remote.path.split('/').filter(|part| !part.is_empty()).take_while(|part| !pattern::is_pattern(part)).collect();
    let prefix = object_store::path::Path::parse(folders.join("/"))
        .map_err(|error| Error::Uri { uri: uri.to_owned(), reason: error.to_string() })?;
    let mut listing = store.list((!folders.is_empty()).then_some(&prefix));
    let mut found = Vec::new();
    while let Some(meta) = listing.try_next().await.map_err(|source| Error::Store { uri: uri.to_owned(), source })? {
        let key = meta.location.as_ref();
        let names: Vec<&str> = key.split('/').collect();
        if pattern::matches(&segments, &names) {
            found.push(planned(remote.uri_of(key), &meta));
        }
    }
    if found.is_empty() { Err(Error::FileNotFound { uri: uri.to_owned() }) } else { Ok(found) }
}

fn planned(uri: String, meta: &ObjectMeta) -> PlannedFile {
    let etag = meta.e_tag.clone().or_else(|| modified_tag(meta));
    PlannedFile { uri, size_bytes: meta.size, etag }
}

/// A weak tag where there is no other: a web server that says only when the file was modified. It is never sent as a
/// condition (RFC 9110, 8.8.2.2).
fn modified_tag(meta: &ObjectMeta) -> Option<String> {
    let nanos = meta.last_modified.timestamp_nanos_opt().filter(|nanos| *nanos > 0)?;
    Some(format!("W/\"modified-{nanos:x}\""))
}
