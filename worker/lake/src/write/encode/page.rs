//! Pages: compressed, with their headers.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

/// Compresses the pages of all columns of a file.
#[derive(Default)]
pub(super) struct Packer {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    /// A page before it is compressed; kept for the next one.
    pub(super) body: Vec<u8>,
    compressed: Vec<u8>,
}

/// A page as it stands in the file.
pub(super) struct Packed {
    pub(super) bytes: Bytes,
    /// Its size, header included, had it not been compressed.
    pub(super) uncompressed: usize,
}

impl Packer {
    /// `None` for a codec that the parquet crate's own writer has to apply.
    pub(super) fn new(codec: Compression) -> Result<Option<Self>> {
        let compressor = match codec {
            Compression::UNCOMPRESSED => None,
            Compression::ZSTD(level) => Some(zstd::bulk::Compressor::new(level.compression_level())?),
            _ => return Ok(None),
        };
        Ok(Some(Self { compressor, body: Vec::new(), compressed: Vec::new() }))
    }

    /// Packs `self.body` as a data page and empties it.
    pub(super) fn data_page(&mut self, values: usize, encoding: Encoding) -> Result<Packed> {
        let num_values = count(values)?;
        self.pack(|buf| Page::DataPage {
            buf,
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })
    }

    /// Packs `self.body` as a dictionary page and empties it.
    pub(super) fn dictionary_page(&mut self, entries: usize) -> Result<Packed> {
        let num_values = count(entries)?;
        self.pack(|buf| Page::DictionaryPage { buf, num_values, encoding: Encoding::PLAIN, is_sorted: false })
    }

    fn pack(&mut self, page: impl FnOnce(Bytes) -> Page) -> Result<Packed> {
        let size = self.body.len();
        let ready = match &mut self.compressor {
            Some(compressor) => {
                self.compressed.clear();
                self.compressed.reserve(zstd::zstd_safe::compress_bound(size));
                compressor.compress_to_buffer(&self.body, &mut self.compressed)?;
                &mut self.compressed
            }
            None => &mut self.body,
        };
        // The page writer wants its bytes shared; nobody shares them afterwards, so that the buffer comes back.
        let shared = Bytes::from(std::mem::take(ready));
        let mut sink = TrackedWrite::new(Vec::with_capacity(shared.len() + 64));
        let page = CompressedPage::new(page(shared.clone()), size);
        let spec = SerializedPageWriter::new(&mut sink).write_page(page)?;
        *ready = shared.into();
        self.body.clear();
        let bytes = Bytes::from(sink.into_inner()?);
        Ok(Packed { bytes, uncompressed: spec.uncompressed_size })
    }
}

fn count(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| ParquetError::General(format!("{number} values do not fit in one page")))
}
