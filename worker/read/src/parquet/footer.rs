//! The footer of a file: what rows it holds, of which types.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use moulin_core::{Counters, PlannedFile, ReadLimits};
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{ConvertedType, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataPushDecoder};
use parquet::schema::types::ColumnDescPtr;
use tokio::runtime::Handle;

use super::mend::mended;
use super::{pages, roots, schema};
use crate::Error;
use crate::fetch::Fetcher;

pub(super) fn damaged(file: &PlannedFile, reason: impl Into<String>) -> Error {
    Error::BadFile { uri: file.uri.clone(), reason: reason.into() }
}

/// The error of a footer that cannot be read.
fn unreadable(file: &PlannedFile, reason: String) -> Error {
    if reason.contains("encrypted footer") {
        return damaged(file, "it is encrypted, and only Parquet files that are not can be read");
    }
    damaged(file, reason)
}

/// Runs a step of the decoder. A damaged file may make it panic: that is no more than one of its errors.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    caught(work)?.map_err(|error| error.to_string())
}

/// Runs what works on values of the file; they may make it panic.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        format!("its values contradict each other: {}", text.unwrap_or("the decoder gave up"))
    })
}

/// Fetches and decodes the footer. `with_pages`: the statistics of pages too, where the file has them. Of the limits only
/// what decoding it would not survive is looked at.
pub(super) fn footer(
    fetcher: &Fetcher,
    file: &PlannedFile,
    limits: &ReadLimits,
    with_pages: bool,
    counters: &Counters,
    runtime: &Handle,
) -> Result<ArrowReaderMetadata, Error> {
    let bad = |reason| unreadable(file, reason);
    let decoder = guarded(|| ParquetMetaDataPushDecoder::try_new(file.size_bytes)).map_err(bad)?;
    let mut decoder = decoder.with_page_index_policy(PageIndexPolicy::Skip);
    let mut start = None;
    loop {
        match guarded(|| decoder.try_decode()).map_err(bad)? {
            DecodeResult::NeedsData(ranges) => {
                let parts = fetcher.ranges(file, &ranges, counters, runtime)?;
                for (range, part) in ranges.iter().zip(&parts) {
                    start = start.or_else(|| footer_start(file, range, part));
                    if start == Some(range.start) && range.end.checked_add(TAIL_BYTES as u64) == Some(file.size_bytes) {
                        schema::check(file, part, limits)?;
                    }
                }
                guarded(|| decoder.push_ranges(ranges, parts)).map_err(bad)?;
            }
            DecodeResult::Data(footer) => {
                let footer =
                    if with_pages { pages::with_pages(fetcher, file, footer, counters, runtime)? } else { footer };
                let footer = guarded(|| {
                    let footer = Arc::new(mended(footer, start)?);
                    let plain = ArrowReaderMetadata::try_new(Arc::clone(&footer), ArrowReaderOptions::new())?;
                    let footer = match better_schema(&plain) {
                        None => plain,
                        Some(schema) => {
                            ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new().with_schema(schema))?
                        }
                    };
                    roots::check(&footer)?;
                    Ok(footer)
                });
                return footer.map_err(bad);
            }
            DecodeResult::Finished => return Err(damaged(file, "it has no footer")),
        }
    }
}

/// Bytes of the length of the footer and of the magic number.
const TAIL_BYTES: usize = 8;

/// Where the footer begins, by the last bytes of the file; `None` for one that is encrypted too.
fn footer_start(file: &PlannedFile, range: &Range<u64>, part: &[u8]) -> Option<u64> {
    let (_, last) = part.split_last_chunk::<TAIL_BYTES>().filter(|_| range.end == file.size_bytes)?;
    let (length, magic) = last.split_first_chunk::<4>()?;
    let before = TAIL_BYTES as u64 + u64::from(u32::from_le_bytes(*length));
    file.size_bytes.checked_sub(before).filter(|_| magic == b"PAR1")
}

/// The schema with moments of 96 bits in microseconds, words of an enumeration as text, and no views; `None` where it has
/// none of these. In nanoseconds, which is how such moments are read otherwise, the years before 1677 and after 2262 do not
/// exist. Views, which a writer may have asked for, would be made plain afterwards: another copy (see `sizes`).
fn better_schema(footer: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let mut leaves = footer.parquet_schema().columns().iter();
    let fields: Vec<FieldRef> = footer.schema().fields().iter().map(|field| better(field, &mut leaves)).collect();
    let schema = Schema::new_with_metadata(fields, footer.schema().metadata().clone());
    (schema != **footer.schema()).then(|| Arc::new(schema))
}

fn better<'a>(field: &FieldRef, leaves: &mut impl Iterator<Item = &'a ColumnDescPtr>) -> FieldRef {
    let ty = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| better(field, leaves)).collect()),
        DataType::List(item) => DataType::List(better(item, leaves)),
        DataType::LargeList(item) => DataType::LargeList(better(item, leaves)),
        DataType::ListView(item) => DataType::ListView(better(item, leaves)),
        DataType::LargeListView(item) => DataType::LargeListView(better(item, leaves)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(better(item, leaves), *length),
        DataType::Map(entries, sorted) => DataType::Map(better(entries, leaves), *sorted),
        leaf => match (leaves.next(), leaf) {
            (Some(found), DataType::Timestamp(_, zone)) if found.physical_type() == Type::INT96 => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            (Some(found), DataType::Binary | DataType::BinaryView) if is_word(found) => DataType::Utf8,
            (_, DataType::Utf8View) => DataType::Utf8,
            (_, DataType::BinaryView) => DataType::Binary,
            _ => leaf.clone(),
        },
    };
    Arc::new(Field::clone(field).with_data_type(ty))
}

fn is_word(leaf: &ColumnDescPtr) -> bool {
    leaf.converted_type() == ConvertedType::ENUM
}
