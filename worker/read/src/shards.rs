//! The parts of a source that can be read apart from each other.

use moulin_core::{Compression, Format, PlannedFile, Source};
use tokio::runtime::Handle;

use crate::fetch::Fetcher;
use crate::{Error, parquet};

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
    /// The records from the first that starts at `start` or later, up to the first that starts at `end` or later.
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
/// one shard: neither a gzip member nor a zstd frame says where the next one starts.
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
            let groups = parquet::row_groups(fetcher, file, runtime)?;
            return Ok((0..groups).map(|group| Part::RowGroups { start: group, end: group + 1 }).collect());
        }
        // What stands at the end of a file is known only when all of it has been read.
        Format::Csv(csv) => csv.skip_footer_rows == 0,
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
