//! The parts of a source that can be read apart from each other, and how one of them is.
//!
//! Parquet says where its row groups are. Where a record of text starts in the middle of a file is a guess until what
//! stands before it has been read: quotes may be open there. So a shard is read from a guess, and says where it began and
//! where the next one begins; [`starts`] finds the wrong guesses, to be read again from the right place, and adds up the
//! records before each shard. Then nothing about a row depends on the shard it was read in.

use std::ops::Range;

use moulin_core::{Column, ColumnType, Compression, Encoding, Format, PlannedFile, Source};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::columns::column_type;
use crate::fetch::Fetcher;
use crate::{BatchStream, Error, InputSchema, Origin, ReadOptions, parquet};

/// Bytes of a text file in one shard, roughly.
const SHARD_BYTES: u64 = 64 << 20;

/// A part of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The file.
    pub file: PlannedFile,
    /// What of it.
    pub part: Part,
}

/// What of a file is in a shard. The shards of a file, in order, hold all of it, and nothing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it: it is small, compressed, or can be understood from its start only.
    Whole,
    /// The records from near `start` to near `end`: where they really begin and end says [`ShardEnd`].
    Bytes {
        /// Offset in the file; 0: from its header on.
        start: u64,
        /// One past the last byte; the file's size: to its end.
        end: u64,
    },
    /// Row groups of a Parquet file.
    RowGroups {
        /// The first, from 0.
        start: usize,
        /// One past the last.
        end: usize,
    },
}

/// Cuts the files of a source into shards, in the order of the files. The same files make the same shards.
///
/// Plain CSV and NDJSON files are cut every 64 MiB, Parquet files into their row groups. A compressed file is
/// one shard: neither a gzip member nor a zstd frame says where the next one starts. Whoever reads it inflates several of
/// them at once.
///
/// # Errors
/// `BadFile` for a Parquet file without a footer, and what its store says.
pub async fn shards(fetcher: &Fetcher, source: &Source, files: &[PlannedFile]) -> Result<Vec<Shard>, Error> {
    let (fetcher, source, files) = (fetcher.clone(), source.clone(), files.to_vec());
    let runtime = Handle::current();
    let cut = move || {
        let mut shards = Vec::with_capacity(files.len());
        for file in files {
            let parts = parts(&fetcher, &source, &file, &runtime)?;
            shards.extend(parts.into_iter().map(|part| Shard { file: file.clone(), part }));
        }
        Ok(shards)
    };
    let ended = |error| Error::Internal(format!("the thread that cuts shards ended: {error}"));
    tokio::task::spawn_blocking(cut).await.map_err(ended)?
}

fn parts(fetcher: &Fetcher, source: &Source, file: &PlannedFile, runtime: &Handle) -> Result<Vec<Part>, Error> {
    let splits = match &source.format {
        Format::Parquet => {
            let groups = parquet::row_groups(fetcher, file, source, runtime)?;
            return Ok((0..groups).map(|group| Part::RowGroups { start: group, end: group + 1 }).collect());
        }
        // What stands at the end of a file is known only when all of it has been read.
        Format::Csv(csv) => csv.skip_footer_rows == 0 && matches!(csv.encoding, Encoding::Auto | Encoding::Utf8),
        Format::Ndjson(_) => true,
        Format::Json(_) => false,
    };
    let is_plain = matches!(source.compression.of(&file.uri), Compression::None | Compression::Auto);
    let size = file.size_bytes;
    if !splits || !is_plain || size <= SHARD_BYTES {
        return Ok(vec![Part::Whole]);
    }
    let starts = (0..size).step_by(SHARD_BYTES as usize);
    Ok(starts.map(|start| Part::Bytes { start, end: (start + SHARD_BYTES).min(size) }).collect())
}

/// Where a shard begins, and what stands before it in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardStart {
    /// Offset of the first record; of row groups, the number of the first.
    pub offset: u64,
    /// Records before it, bad ones among them.
    pub records: u64,
    /// Physical lines before it, those of the header among them.
    pub lines: u64,
}

/// What became of a shard, once all of it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardEnd {
    /// Where its first record stands; of row groups, the number of the first.
    pub from: u64,
    /// Where the next shard of the file begins.
    pub to: u64,
    /// Its records, bad ones among them.
    pub records: u64,
    /// Its physical lines, of the first shard those of the header among them.
    pub lines: u64,
}

/// A shard that is being read.
pub struct ShardRead {
    /// Its rows, as [`crate::batches`] would hand them out.
    pub batches: BatchStream,
    told: oneshot::Receiver<ShardEnd>,
}

impl ShardRead {
    /// What became of the shard; `None`: the batches were not taken to their end, or ended with an error.
    #[must_use]
    pub fn end(mut self) -> Option<ShardEnd> {
        drop(self.batches);
        self.told.try_recv().ok()
    }
}

impl std::fmt::Debug for ShardRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardRead").finish_non_exhaustive()
    }
}

/// Reads one shard, and no byte of its file that it does not take: the header, and the shard.
///
/// `schema` is that of the whole source. With `start` (of [`starts`]) rows and rejects have the numbers and places they
/// have when the whole file is read. Without it, the start of a shard of bytes that is not the first of its file is
/// guessed, and the numbers of its records and lines are counted from there; offsets are always those of the file. Row
/// groups need no start.
///
/// # Errors
/// As [`crate::batches`]. An error of a shard whose start was guessed counts only if the guess was right, and that is known
/// once the shard before it has been read. `Schema` for a part that the format does not have.
#[must_use]
pub fn read_shard(
    fetcher: &Fetcher,
    source: &Source,
    schema: &InputSchema,
    shard: &Shard,
    start: Option<ShardStart>,
    options: ReadOptions,
) -> ShardRead {
    let (sender, told) = oneshot::channel();
    let piece = Piece { part: shard.part, start, told: Told(sender) };
    let source = with_folders(source, schema);
    let batches = crate::projected(fetcher, &source, std::slice::from_ref(&shard.file), schema, options, Some(piece));
    ShardRead { batches, told }
}

/// The source with the types of its folders declared: one file alone may say another.
fn with_folders(source: &Source, schema: &InputSchema) -> Source {
    let mut source = source.clone();
    let folders = schema.arrow.fields().iter().zip(&schema.origins).filter(|(_, origin)| **origin == Origin::Partition);
    for (field, _) in folders {
        let is_declared = source.columns.iter().any(|column| column.name == *field.name());
        if let Some(ty) = column_type(field.data_type()).filter(|_| !is_declared) {
            source.columns.push(Column::new(field.name(), ColumnType::Primitive(ty)));
        }
    }
    source
}

/// The starts of the shards of one file, from what became of them, in their order.
///
/// # Errors
/// The first shard that was read from a wrong guess, and where it must be read from. Those behind it may be right.
pub fn starts(ends: &[ShardEnd]) -> Result<Vec<ShardStart>, (usize, ShardStart)> {
    let mut starts = Vec::with_capacity(ends.len());
    let mut next: Option<ShardStart> = None;
    for (number, end) in ends.iter().enumerate() {
        let start = next.unwrap_or(ShardStart { offset: end.from, records: 0, lines: 0 });
        if end.from != start.offset {
            return Err((number, start));
        }
        starts.push(start);
        let (records, lines) = (start.records + end.records, start.lines + end.lines);
        next = Some(ShardStart { offset: end.to, records, lines });
    }
    Ok(starts)
}

/// A part of the one file that is read, and who is told of its end.
pub(crate) struct Piece {
    pub(crate) part: Part,
    pub(crate) start: Option<ShardStart>,
    pub(crate) told: Told,
}

impl Piece {
    /// The bytes of a text file.
    ///
    /// # Errors
    /// `Schema` for row groups.
    pub(crate) fn slice(self, uri: &str) -> Result<(Option<Slice>, Told), Error> {
        match self.part {
            Part::Whole => Ok((None, self.told)),
            Part::Bytes { start, end } => Ok((Some(Slice { range: start..end, start: self.start }), self.told)),
            Part::RowGroups { .. } => Err(Error::Schema(format!("{uri} is text, which has no row groups"))),
        }
    }

    /// The row groups of a Parquet file.
    ///
    /// # Errors
    /// `Schema` for a range of bytes.
    pub(crate) fn groups(self, uri: &str) -> Result<(Option<Range<usize>>, Told), Error> {
        match self.part {
            Part::Whole => Ok((None, self.told)),
            Part::RowGroups { start, end } => Ok((Some(start..end), self.told)),
            Part::Bytes { .. } => Err(Error::Schema(format!("{uri} is a Parquet file, which is read by row groups"))),
        }
    }
}

/// Takes what became of a shard.
pub(crate) struct Told(oneshot::Sender<ShardEnd>);

impl Told {
    pub(crate) fn tell(self, end: ShardEnd) {
        // Nobody wants to know it when this fails.
        let _ = self.0.send(end);
    }
}

/// Bytes of a file, near which records begin and end.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub(crate) range: Range<u64>,
    pub(crate) start: Option<ShardStart>,
}

impl Slice {
    /// Records and lines before it, as far as they are known and not its own.
    pub(crate) fn before(&self) -> (u64, u64) {
        let known = self.start.filter(|_| self.range.start > 0);
        known.map_or((0, 0), |start| (start.records, start.lines))
    }

    /// Where the records of the slice stand, and what stands before them. `header` is what stands before all of them.
    pub(crate) fn bounds(
        &self,
        header: ShardStart,
        size: u64,
        guess: impl Fn(u64) -> Result<u64, Error>,
    ) -> Result<(Range<u64>, ShardStart), Error> {
        let before = match self.start {
            _ if self.range.start == 0 => header,
            Some(start) => start,
            None => ShardStart { offset: guess(self.range.start)?, records: 0, lines: 0 },
        };
        let end = if self.range.end >= size { size } else { guess(self.range.end)? };
        Ok((before.offset..end.max(before.offset), before))
    }
}
