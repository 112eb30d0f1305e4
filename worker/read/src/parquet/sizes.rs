//! How large batches are: as many rows as there is room for, whatever the file is stored as.
//!
//! A batch has as many rows as the footer says that there is room for. What a footer does not say is how long the texts
//! are that a dictionary repeats: its first page does. Where they may not fit, they are decoded as views, which repeat
//! nothing; what comes is measured, cut, and only then made plain. That costs a copy, so that the short words of most
//! dictionaries are decoded as they are. None of this depends on threads: the same file makes the same batches.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{ByteViewType, DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Encoding, Type};
use parquet::file::metadata::ColumnChunkMetaData;

use super::thrift::Thrift;
use super::{roots, rows_of};

/// Bytes of a batch, of its texts and of all else alike.
const BATCH_BYTES: u64 = 32 << 20;
/// Texts of one column that a batch may hold when all the long ones stand together.
const UNEVEN_BYTES: u64 = 8 * BATCH_BYTES;
/// Rows of a batch at the most, and at the least while there are as many.
const ROWS: Range<u64> = 16..32 << 10;
/// Rows at the most where texts may be parts of those before them: no view keeps these from being repeated.
const ROWS_OF_PREFIXES: u64 = 1 << 10;

/// Bytes of a word, on the average of its dictionary, above which it is a long one.
const WORD_BYTES: i64 = 64;

/// How a row group is decoded.
pub(super) struct Sizes {
    /// The footer, with views where texts are too long for a batch.
    pub(super) footer: ArrowReaderMetadata,
    pub(super) rows: usize,
    /// Whether dictionaries may repeat texts beyond measure, if their words are long.
    is_repeated: bool,
}

impl Sizes {
    /// Those for the columns at `places` of a row group.
    pub(super) fn of(footer: &ArrowReaderMetadata, group: usize, places: &[usize]) -> Self {
        let mask = roots::mask(footer, places);
        let group = footer.metadata().row_group(group);
        let leaves = || {
            let columns = group.columns().iter().enumerate();
            columns.filter(|(leaf, _)| mask.leaf_included(*leaf)).map(|(_, column)| column)
        };
        let bytes = leaves().map(bytes_of).fold(0, u64::saturating_add);
        let of_a_row = (bytes / rows_of(group).max(1)).max(1);
        let most = if leaves().any(has_prefixes) { ROWS_OF_PREFIXES } else { ROWS.end };
        let rows = (BATCH_BYTES / of_a_row).clamp(ROWS.start, most);
        let is_uneven =
            |column: &ColumnChunkMetaData| !repeats(column) && has_texts(column) && text_bytes(column) > UNEVEN_BYTES;
        let is_repeated = leaves().any(|column| {
            repeats(column) && has_texts(column) && text_bytes(column).saturating_mul(rows) > UNEVEN_BYTES
        });
        let sizes = Self { footer: footer.clone(), rows: rows as usize, is_repeated };
        if leaves().any(is_uneven) { sizes.with_views(places) } else { sizes }
    }

    /// Whether the texts of dictionaries that begin one of these parts are to be views.
    pub(super) fn are_exceeded(&self, parts: &[Bytes]) -> bool {
        self.is_repeated && parts.iter().any(|part| has_long_words(part))
    }

    /// The same with all texts as views, where the decoder takes that.
    pub(super) fn with_views(self, places: &[usize]) -> Self {
        let footer = with_views(&self.footer, places).unwrap_or(self.footer);
        Self { footer, is_repeated: false, ..self }
    }
}

/// What the values of a column are in memory, by the footer; of texts that are repeated, once.
fn bytes_of(column: &ColumnChunkMetaData) -> u64 {
    let width = match column.column_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 | Type::BYTE_ARRAY => 16,
        Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(column.column_descr().type_length()).unwrap_or(0),
    };
    let values = u64::try_from(column.num_values()).unwrap_or(0).saturating_mul(width);
    let texts = if column.column_type() == Type::BYTE_ARRAY { text_bytes(column) } else { 0 };
    values.saturating_add(texts)
}

/// All texts of a column, where the footer says it; otherwise what its pages hold.
fn text_bytes(column: &ColumnChunkMetaData) -> u64 {
    let bytes = column.unencoded_byte_array_data_bytes().unwrap_or_else(|| column.uncompressed_size());
    u64::try_from(bytes).unwrap_or(0)
}

fn has_prefixes(column: &ColumnChunkMetaData) -> bool {
    column.unencoded_byte_array_data_bytes().is_none()
        && column.encodings().any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY)
}

fn has_texts(column: &ColumnChunkMetaData) -> bool {
    column.column_type() == Type::BYTE_ARRAY
}

/// Whether there may be more texts than the footer says.
fn repeats(column: &ColumnChunkMetaData) -> bool {
    column.dictionary_page_offset().is_some() && column.unencoded_byte_array_data_bytes().is_none()
}

/// Whether bytes begin with a dictionary (`PageHeader` in parquet.thrift) of long words.
fn has_long_words(part: &[u8]) -> bool {
    let mut thrift = Thrift::new(part);
    let (mut id, mut bytes, mut words) = (0, 0, None);
    while let Some(Some((field, kind))) = thrift.field(id) {
        let read = match (field, kind) {
            (2, Thrift::I32) => thrift.zigzag().map(|size| bytes = size),
            // Its first field is how many words there are.
            (7, Thrift::STRUCT) => {
                words = Thrift::new(&part[thrift.at.min(part.len())..]).first_number();
                thrift.skip(kind, Thrift::DEPTH)
            }
            _ => thrift.skip(kind, Thrift::DEPTH),
        };
        if read.is_none() {
            break;
        }
        id = field;
    }
    words.is_some_and(|words| bytes / words.max(1) > WORD_BYTES)
}

/// A footer in which the texts at these places are views; `None`: the decoder does not take it.
fn with_views(footer: &ArrowReaderMetadata, places: &[usize]) -> Option<ArrowReaderMetadata> {
    let view = |(place, field): (usize, &FieldRef)| {
        let ty = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            _ => return Arc::clone(field),
        };
        if places.contains(&place) { Arc::new(Field::clone(field).with_data_type(ty)) } else { Arc::clone(field) }
    };
    let fields: Vec<FieldRef> = footer.schema().fields().iter().enumerate().map(view).collect();
    let schema = Schema::new_with_metadata(fields, footer.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(footer.metadata()), options).ok()
}

/// Cuts a batch into parts that have room for their texts, each of one row at least.
pub(super) fn parts(batch: &RecordBatch) -> Vec<RecordBatch> {
    let mut lengths = vec![0_u64; batch.num_rows()];
    batch.columns().iter().for_each(|column| add_lengths(column, &mut lengths));
    if lengths.iter().sum::<u64>() <= BATCH_BYTES {
        return vec![batch.clone()];
    }
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (row, length) in lengths.into_iter().enumerate() {
        if row > start && bytes + length > BATCH_BYTES {
            parts.push(batch.slice(start, row - start));
            (start, bytes) = (row, 0);
        }
        bytes += length;
    }
    parts.push(batch.slice(start, batch.num_rows() - start));
    parts
}

/// Adds what each row of a column is longer when it is plain.
fn add_lengths(column: &ArrayRef, lengths: &mut [u64]) {
    match column.data_type() {
        DataType::Utf8View => add(lengths, lengths_of_views(column.as_string_view())),
        DataType::BinaryView => add(lengths, lengths_of_views(column.as_binary_view())),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let mut of_values = vec![0; dictionary.values().len()];
            add_plain_lengths(dictionary.values(), &mut of_values);
            if !of_values.is_empty() {
                add(lengths, dictionary.normalized_keys().into_iter().map(|key| of_values[key]));
            }
        }
        _ => {}
    }
}

fn add_plain_lengths(values: &ArrayRef, lengths: &mut [u64]) {
    match values.data_type() {
        DataType::Utf8 => add(lengths, values.as_string::<i32>().offsets().lengths().map(|length| length as u64)),
        DataType::LargeUtf8 => add(lengths, values.as_string::<i64>().offsets().lengths().map(|length| length as u64)),
        DataType::Binary => add(lengths, values.as_binary::<i32>().offsets().lengths().map(|length| length as u64)),
        DataType::LargeBinary => {
            add(lengths, values.as_binary::<i64>().offsets().lengths().map(|length| length as u64));
        }
        _ => add_lengths(values, lengths),
    }
}

fn add(lengths: &mut [u64], more: impl Iterator<Item = u64>) {
    lengths.iter_mut().zip(more).for_each(|(length, more)| *length += more);
}

/// The length of a view is its first four bytes.
fn lengths_of_views<T: ByteViewType>(views: &arrow::array::GenericByteViewArray<T>) -> impl Iterator<Item = u64> {
    views.views().iter().map(|view| u64::from(*view as u32))
}

/// A batch with the types of the columns at `places`, in their order in the file, instead of views.
pub(super) fn plain(batch: &RecordBatch, schema: &SchemaRef, places: &[usize]) -> Result<RecordBatch, ArrowError> {
    let mut places = places.to_vec();
    places.sort_unstable();
    let fields: Vec<FieldRef> = places.iter().map(|place| Arc::clone(&schema.fields()[*place])).collect();
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(&fields).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        cast_with_options(column, field.data_type(), &options)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_says_how_long_its_words_are() {
        // Type 2, 130 bytes plain, 7 stored, and a dictionary of two words, or of three, PLAIN.
        let page = |words: u8| [0x15, 4, 0x15, 0x84, 2, 0x15, 14, 0x4c, 0x15, 2 * words, 0x15, 0, 0, 0];
        assert!(has_long_words(&page(2)));
        assert!(!has_long_words(&page(3)));
        assert!(has_long_words(&page(0)));
        for other in [&b""[..], b"PAR1", &page(2)[..5], &[0x15, 0, 0x15, 20, 0x15, 14, 0]] {
            assert!(!has_long_words(other), "{other:x?}");
        }
    }
}
