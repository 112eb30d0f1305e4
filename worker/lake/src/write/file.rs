//! One data file while it is written.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use iceberg::spec::{DataFile, Struct};
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::writer::SerializedFileWriter;

use super::Shared;
use super::encode::RowGroups;
use super::metrics::data_file;
use super::sink::Sink;
use crate::Error;

/// A Parquet file of one partition.
pub(super) struct OpenFile {
    location: String,
    partition: Struct,
    file: SerializedFileWriter<Sink>,
    groups: RowGroups,
}

impl OpenFile {
    /// Names the file to the job store and creates it.
    pub(super) fn create(shared: &Shared, partition: Struct, folder: &str) -> Result<Self, Error> {
        let options = &shared.options;
        let number = shared.files.fetch_add(1, Ordering::Relaxed);
        let random = uuid::Uuid::new_v4().as_u64_pair().0 >> 32;
        let base = &shared.target.settings.data_location;
        let location =
            format!("{base}/{folder}{}-{:05}-{number:05}-{random:08x}.parquet", options.job_id, options.attempt);
        let staged = shared.runtime.block_on((options.stage)(location.clone()));
        staged.map_err(|fault| Error::Refused { fault: Box::new(fault) })?;
        let sink = Sink::create(&shared.warehouse, &location, &shared.runtime)?;
        let failed = |e| Error::encode(&location, e);
        let schema = ArrowSchemaConverter::new().schema_root("table").convert(shared.target.alignment.schema());
        let schema = schema.map_err(failed)?;
        let properties = Arc::new(shared.target.settings.writer_properties());
        let file = SerializedFileWriter::new(sink, schema.root_schema_ptr(), properties).map_err(failed)?;
        let groups = RowGroups::new(&file, shared.target.alignment.schema()).map_err(failed)?;
        Ok(Self { location, partition, file, groups })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.groups.write(batch, &mut self.file).map_err(|e| Error::encode(&self.location, e))
    }

    /// Bytes written and bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.file.bytes_written() + self.groups.held_bytes()
    }

    /// Bytes held for the row group in progress.
    pub(super) fn held_bytes(&self) -> usize {
        self.groups.held_bytes()
    }

    /// Ends the row group in progress.
    pub(super) fn end_row_group(&mut self) -> Result<(), Error> {
        self.groups.end(&mut self.file).map_err(|e| Error::encode(&self.location, e))
    }

    /// Writes the footer and makes the file safe.
    pub(super) fn close(mut self, shared: &Shared) -> Result<DataFile, Error> {
        self.end_row_group()?;
        let metadata = self.file.finish().map_err(|e| Error::encode(&self.location, e))?;
        let size = self.file.bytes_written() as u64;
        self.file.inner_mut().close(&self.location)?;
        data_file(&shared.target, &metadata, self.location, size, self.partition)
    }
}
