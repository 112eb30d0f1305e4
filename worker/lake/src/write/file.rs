//! One data file while it is written.

use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use iceberg::spec::{DataFile, Struct};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use super::metrics::data_file;
use super::sink::Sink;
use super::{Shared, settings};
use crate::Error;

/// A Parquet file of one partition.
pub(super) struct OpenFile {
    location: String,
    partition: Struct,
    writer: ArrowWriter<Sink>,
}

impl OpenFile {
    /// Names the file to the job store and creates it; `first` is a sample of what it will hold.
    pub(super) fn create(shared: &Shared, partition: Struct, folder: &str, first: &RecordBatch) -> Result<Self, Error> {
        let options = &shared.options;
        let number = shared.files.fetch_add(1, Ordering::Relaxed);
        let random = uuid::Uuid::new_v4().as_u64_pair().0 >> 32;
        let base = &shared.target.settings.data_location;
        let location =
            format!("{base}/{folder}{}-{:05}-{number:05}-{random:08x}.parquet", options.job_id, options.attempt);
        let staged = shared.runtime.block_on((options.stage)(location.clone()));
        staged.map_err(|fault| Error::Stage { fault: Box::new(fault) })?;
        let sink = Sink::create(&shared.warehouse, &location, &shared.runtime)?;
        let plain = shared.plain(|| settings::without_dictionary(shared.target.metadata.current_schema(), first));
        let options = ArrowWriterOptions::new()
            .with_properties(shared.target.settings.writer_properties(&plain))
            // Readers take the types from the Parquet schema and the table; Arrow's own would only be in the way.
            .with_skip_arrow_metadata(true)
            .with_schema_root("table".to_owned());
        let writer = ArrowWriter::try_new_with_options(sink, first.schema(), options);
        let writer = writer.map_err(|e| Error::encode(&location, e))?;
        Ok(Self { location, partition, writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.writer.write(batch).map_err(|e| Error::encode(&self.location, e))
    }

    /// Bytes written and bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Bytes held for the row group in progress.
    pub(super) fn held_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }

    /// Ends the row group in progress.
    pub(super) fn end_row_group(&mut self) -> Result<(), Error> {
        self.writer.flush().map_err(|e| Error::encode(&self.location, e))
    }

    /// Writes the footer and makes the file safe.
    pub(super) fn close(mut self, shared: &Shared) -> Result<DataFile, Error> {
        let metadata = self.writer.finish().map_err(|e| Error::encode(&self.location, e))?;
        let size = self.writer.bytes_written() as u64;
        self.writer.inner_mut().close(&self.location)?;
        data_file(&shared.target, &metadata, self.location, size, self.partition)
    }
}
