//! Batches as files: CSV, NDJSON and Parquet, for `moulin convert` and for rejects that a person takes along.
//!
//! What is written is exact: numbers with all their digits, dates and times in ISO 8601, bytes as base64 in the text
//! formats. A null is an empty field in CSV, where an empty text is quoted; nested values are JSON texts there.

mod cells;
mod csv;
mod json;
pub(crate) mod loads;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use moulin_core::{Fault, FaultKind};
use moulin_read::landable;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet, compressed with zstd.
    Parquet,
}

impl Format {
    /// By the ending of a file's name.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the file and the endings.
    pub(crate) fn of(path: &Path) -> Result<Self, Fault> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("ndjson" | "jsonl") => Ok(Self::Ndjson),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(Fault::new(
                FaultKind::InvalidSpec,
                format!("{}: expected a name that ends in .csv, .ndjson or .parquet", path.display()),
            )
            .with_hint("the ending says how the rows are written")),
        }
    }
}

/// Where rows go.
pub(crate) enum Destination {
    /// Standard output.
    Stdout,
    /// A file. It has its name only when it is whole.
    File(PathBuf),
}

/// Writes batches of one schema.
pub(crate) struct Output {
    schema: SchemaRef,
    kind: Kind,
    /// The name that the finished file gets, and the one it has until then.
    file: Option<(PathBuf, PathBuf)>,
    rows: u64,
}

enum Kind {
    Csv(csv::Writer<Box<dyn Write + Send>>),
    Ndjson(json::Writer<Box<dyn Write + Send>>),
    Parquet(Box<ArrowWriter<Box<dyn Write + Send>>>),
}

impl Output {
    /// Opens the destination; the header is written at once, so that a file without rows has its columns.
    ///
    /// # Errors
    /// `PermissionDenied` for a file that cannot be made; `Transform` for a column that no format holds.
    pub(crate) fn open(to: Destination, format: Format, schema: &SchemaRef) -> Result<Self, Fault> {
        let schema = plain_schema(schema)?;
        let (sink, file): (Box<dyn Write + Send>, _) = match to {
            Destination::Stdout => (Box::new(BufWriter::new(std::io::stdout())), None),
            Destination::File(path) => {
                let mut part = path.clone().into_os_string();
                part.push(".part");
                let part = PathBuf::from(part);
                let file = File::create(&part).map_err(|error| cannot("make", &part, &error))?;
                (Box::new(BufWriter::with_capacity(1 << 16, file)), Some((path, part)))
            }
        };
        let kind = match format {
            Format::Csv => Kind::Csv(csv::Writer::new(sink, &schema).map_err(|error| cannot_write(&error))?),
            Format::Ndjson => Kind::Ndjson(json::Writer::new(sink)),
            Format::Parquet => {
                let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties()));
                Kind::Parquet(Box::new(writer.map_err(|error| cannot_write(&error))?))
            }
        };
        Ok(Self { schema, kind, file, rows: 0 })
    }

    /// Writes a batch. Blocks.
    ///
    /// # Errors
    /// `Unavailable`: the destination does not take it.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        let batch = plain(batch, &self.schema).map_err(|error| cannot_write(&error))?;
        match &mut self.kind {
            Kind::Csv(writer) => writer.write(&batch).map_err(|error| cannot_write(&error))?,
            Kind::Ndjson(writer) => writer.write(&batch).map_err(|error| cannot_write(&error))?,
            Kind::Parquet(writer) => writer.write(&batch).map_err(|error| cannot_write(&error))?,
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Writes what is left, and gives the file its name. Says how many rows were written.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(crate) fn finish(mut self) -> Result<u64, Fault> {
        match &mut self.kind {
            Kind::Csv(writer) => writer.flush().map_err(|error| cannot_write(&error))?,
            Kind::Ndjson(writer) => writer.flush().map_err(|error| cannot_write(&error))?,
            Kind::Parquet(writer) => {
                writer.finish().map_err(|error| cannot_write(&error))?;
                writer.inner_mut().flush().map_err(|error| cannot_write(&error))?;
            }
        }
        if let Some((path, part)) = self.file.take() {
            File::open(&part).and_then(|file| file.sync_all()).map_err(|error| cannot("write", &part, &error))?;
            std::fs::rename(&part, &path).map_err(|error| cannot("name", &path, &error))?;
        }
        Ok(self.rows)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Half a file is no file.
        if let Some((_, part)) = &self.file {
            let _ = std::fs::remove_file(part);
        }
    }
}

/// Parquet as Moulin writes it for people: compressed, with the statistics that readers prune by.
pub(crate) fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    WriterProperties::builder().set_compression(Compression::ZSTD(level)).build()
}

/// The schema in the types that this module writes.
fn plain_schema(schema: &SchemaRef) -> Result<SchemaRef, Fault> {
    let fields = schema.fields().iter().map(|field| {
        let data_type = landable(field.data_type())
            .map_err(|why| Fault::new(FaultKind::Transform, format!("column `{}` {why}", field.name())))?;
        Ok(Field::new(field.name(), data_type, field.is_nullable()))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, Fault>>()?)))
}

fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn cannot(doing: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::PermissionDenied, format!("cannot {doing} {}: {error}", path.display()))
        .with_hint("name a file in a folder that this user may write")
}

fn cannot_write(error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::new(FaultKind::Unavailable, "the rows could not be written").with_source(error)
}
