//! One column chunk: levels, pages and what the footer says about them.

use std::collections::VecDeque;
use std::io::Read;

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use bytes::{Buf as _, Bytes};
use parquet::basic::{Encoding, PageType};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use super::hybrid;
use super::page::{Packed, Packer};
use crate::write::size::array_bytes;

/// Rows between two looks at the size of page and dictionary.
const ROWS_AT_ONCE: usize = 8192;
/// Bytes between them: a page must stay far below 2 GiB, however long the texts.
const BYTES_AT_ONCE: usize = 32 << 20;
/// Values after which it is decided whether a dictionary will pay.
const SAMPLE: usize = 16_384;

/// The values of a column chunk that are not null: in a dictionary first, plain once it is given up.
pub(super) trait Values: Send {
    /// Takes the values of an array that are not null.
    fn push(&mut self, array: &dyn Array) -> Result<()>;
    /// Size of the values of the page in progress, about.
    fn page_bytes(&self) -> usize;
    /// Appends the values of the page in progress.
    fn end_page(&mut self, body: &mut Vec<u8>) -> Encoding;
    /// Entries and bytes of the dictionary in use; `None` when it was given up.
    fn dictionary(&self) -> Option<Dictionary>;
    /// From the next page on, values are plain; the dictionary stays for the pages there are.
    fn give_up(&mut self);
    /// Makes the page in progress plain and forgets the dictionary.
    fn revert(&mut self);
    /// Appends the dictionary, if pages use one, and says how many entries it has.
    fn end_dictionary(&mut self, body: &mut Vec<u8>) -> Option<usize>;
    /// Smallest and largest value, and the number of nulls.
    fn statistics(&self, nulls: u64) -> Statistics;
    /// Ready for the next column chunk.
    fn reset(&mut self, dictionary: bool);
}

/// A dictionary as it grows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dictionary {
    pub(super) entries: usize,
    pub(super) bytes: usize,
    /// Whether values collide in it, so that it costs more than it saves.
    pub(super) crowded: bool,
}

/// Encodes the chunks of one column, one per row group.
pub(super) struct Column {
    descriptor: ColumnDescPtr,
    props: WriterPropertiesPtr,
    values: Box<dyn Values>,
    nullable: bool,
    /// Whether a dictionary was found to be no use for this column.
    plain: bool,
    page_limit: usize,
    dictionary_limit: usize,
    chunk: State,
}

/// The chunk in progress.
#[derive(Default)]
struct State {
    present: Option<BooleanBufferBuilder>,
    page_rows: usize,
    rows: usize,
    nulls: usize,
    sampled: bool,
    pages: VecDeque<Bytes>,
    bytes: usize,
    uncompressed: usize,
    /// Data pages with dictionary and without.
    data_pages: [i32; 2],
}

impl Column {
    pub(super) fn new(descriptor: ColumnDescPtr, props: &WriterPropertiesPtr, values: Box<dyn Values>) -> Self {
        let path = descriptor.path();
        Self {
            nullable: descriptor.max_def_level() > 0,
            plain: false,
            page_limit: props.column_data_page_size_limit(path),
            dictionary_limit: props.column_dictionary_page_size_limit(path),
            props: props.clone(),
            descriptor,
            values,
            chunk: State::default(),
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.chunk.bytes + self.values.page_bytes() + self.values.dictionary().map_or(0, |d| d.bytes)
    }

    pub(super) fn write(&mut self, array: &ArrayRef, packer: &mut Packer) -> Result<()> {
        let bytes = array_bytes(array.as_ref());
        let at_once = (BYTES_AT_ONCE / (bytes / array.len().max(1)).max(1)).clamp(1, ROWS_AT_ONCE);
        let mut from = 0;
        while from < array.len() {
            let rows = (array.len() - from).min(at_once);
            self.write_some(array.slice(from, rows).as_ref(), packer)?;
            from += rows;
        }
        Ok(())
    }

    fn write_some(&mut self, array: &dyn Array, packer: &mut Packer) -> Result<()> {
        self.note_nulls(array)?;
        self.values.push(array)?;
        self.chunk.page_rows += array.len();
        self.chunk.rows += array.len();
        if let Some(dictionary) = self.values.dictionary() {
            let seen = self.chunk.rows - self.chunk.nulls;
            if !self.chunk.sampled && seen >= SAMPLE {
                self.chunk.sampled = true;
                let rows = self.props.max_row_group_row_count().unwrap_or(seen);
                if !pays(dictionary, seen, rows, self.dictionary_limit) && self.chunk.pages.is_empty() {
                    self.values.revert();
                    self.plain = true;
                }
            } else if dictionary.crowded || dictionary.bytes >= self.dictionary_limit {
                self.end_page(packer)?;
                self.values.give_up();
                self.plain = true;
            }
        }
        if self.values.page_bytes() >= self.page_limit {
            self.end_page(packer)?;
        }
        Ok(())
    }

    // Bits are kept only from the first null of a page on.
    fn note_nulls(&mut self, array: &dyn Array) -> Result<()> {
        let (nulls, rows) = (array.null_count(), self.chunk.page_rows);
        if nulls > 0 && !self.nullable {
            return Err(ParquetError::General(format!("null in the required column {}", self.descriptor.path())));
        }
        if nulls > 0 || self.chunk.present.is_some() {
            let present = self.chunk.present.get_or_insert_with(|| {
                let mut bits = BooleanBufferBuilder::new(rows + array.len());
                bits.append_n(rows, true);
                bits
            });
            match array.nulls() {
                Some(bits) => present.append_buffer(bits.inner()),
                None => present.append_n(array.len(), true),
            }
        }
        self.chunk.nulls += nulls;
        Ok(())
    }

    fn end_page(&mut self, packer: &mut Packer) -> Result<()> {
        if self.chunk.page_rows == 0 {
            return Ok(());
        }
        let body = &mut packer.body;
        if self.nullable {
            body.extend_from_slice(&[0; 4]);
            let bits = self.chunk.present.take().map(|mut bits| bits.finish());
            hybrid::encode_bits(bits.as_ref().map(BooleanBuffer::values), self.chunk.page_rows, body);
            let length = u32::try_from(body.len() - 4).unwrap_or(u32::MAX);
            body[..4].copy_from_slice(&length.to_le_bytes());
        }
        let encoding = self.values.end_page(body);
        let page = packer.data_page(self.chunk.page_rows, encoding)?;
        self.chunk.data_pages[usize::from(encoding == Encoding::PLAIN)] += 1;
        self.chunk.page_rows = 0;
        self.keep(page);
        Ok(())
    }

    fn keep(&mut self, page: Packed) {
        self.chunk.bytes += page.bytes.len();
        self.chunk.uncompressed += page.uncompressed;
        self.chunk.pages.push_back(page.bytes);
    }

    /// Ends the chunk: its bytes, and what the footer says about it.
    pub(super) fn end(&mut self, packer: &mut Packer) -> Result<(Chunk, ColumnCloseResult)> {
        self.end_page(packer)?;
        let dictionary = match self.values.end_dictionary(&mut packer.body) {
            Some(entries) => {
                let page = packer.dictionary_page(entries)?;
                let length = page.bytes.len();
                self.keep(page);
                // It is complete last and stands first.
                self.chunk.pages.rotate_right(1);
                Some(length)
            }
            None => None,
        };
        let statistics = self.values.statistics(self.chunk.nulls as u64);
        self.values.reset(!self.plain);
        let chunk = std::mem::take(&mut self.chunk);
        let close = ColumnCloseResult {
            bytes_written: chunk.bytes as u64,
            rows_written: chunk.rows as u64,
            metadata: self.metadata(&chunk, dictionary, statistics)?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok((Chunk(chunk.pages), close))
    }

    fn metadata(
        &self,
        chunk: &State,
        dictionary: Option<usize>,
        statistics: Statistics,
    ) -> Result<ColumnChunkMetaData> {
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let [with_dictionary, plain] = chunk.data_pages;
        let mut encodings = vec![Encoding::RLE];
        let mut pages = Vec::new();
        if dictionary.is_some() {
            encodings.extend([Encoding::PLAIN, Encoding::RLE_DICTIONARY]);
            pages.push(PageEncodingStats { page_type: PageType::DICTIONARY_PAGE, encoding: Encoding::PLAIN, count: 1 });
        }
        for (encoding, count) in [(Encoding::RLE_DICTIONARY, with_dictionary), (Encoding::PLAIN, plain)] {
            if count > 0 {
                encodings.push(encoding);
                pages.push(PageEncodingStats { page_type: PageType::DATA_PAGE, encoding, count });
            }
        }
        ColumnChunkMetaData::builder(self.descriptor.clone())
            .set_encodings(encodings)
            .set_page_encoding_stats(pages)
            .set_compression(self.props.compression(self.descriptor.path()))
            .set_num_values(signed(chunk.rows))
            .set_total_compressed_size(signed(chunk.bytes))
            .set_total_uncompressed_size(signed(chunk.uncompressed))
            .set_dictionary_page_offset(dictionary.map(|_| 0))
            .set_data_page_offset(signed(dictionary.unwrap_or_default()))
            .set_statistics(statistics)
            .build()
    }
}

/// Whether a dictionary is worth its while for a whole row group, judged by its first values.
///
/// Values drawn from D possible ones repeat n²/2D times among n; from the repeats seen, D is estimated, and from
/// D the dictionary's size at the end. Where most values repeat, it pays.
fn pays(dictionary: Dictionary, seen: usize, rows: usize, limit: usize) -> bool {
    if dictionary.crowded {
        return false;
    }
    let (n, rows) = (seen as f64, rows.max(seen) as f64);
    let repeats = n - dictionary.entries as f64;
    if repeats > n / 2.0 {
        return true;
    }
    let possible = n * n / (2.0 * repeats.max(0.5));
    let width = dictionary.bytes as f64 / dictionary.entries.max(1) as f64;
    let entries = possible * (1.0 - (-rows / possible).exp());
    let with = entries * width + rows * entries.max(2.0).log2() / 8.0;
    entries * width < limit as f64 && with < 0.8 * rows * width
}

/// A finished column chunk.
pub(super) struct Chunk(VecDeque<Bytes>);

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.0.iter().map(|page| page.len() as u64).sum()
    }
}

impl ChunkReader for Chunk {
    type T = Pages;

    // Asked once, for all of it.
    fn get_read(&self, start: u64) -> Result<Pages> {
        match start {
            0 => Ok(Pages(self.0.clone())),
            _ => Err(ParquetError::General("a column chunk is read from its start".to_owned())),
        }
    }

    fn get_bytes(&self, _start: u64, _length: usize) -> Result<Bytes> {
        Err(ParquetError::General("a column chunk is read as a whole".to_owned()))
    }
}

pub(super) struct Pages(VecDeque<Bytes>);

impl Read for Pages {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        let Some(page) = self.0.front_mut() else { return Ok(0) };
        let length = out.len().min(page.len());
        page.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}
