//! The table `input`: the job's rows as DataFusion reads them.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::RefCountedTempFile;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;
use parking_lot::Mutex;

use super::super::stage::Inlet;
use crate::Error;

/// The first error of an input: DataFusion carries only its text.
pub(super) type Failure = Arc<Mutex<Option<Error>>>;

/// What the scans of a plan read. It is planned empty and filled before the plan runs.
#[derive(Debug)]
pub(super) struct InputTable {
    schema: SchemaRef,
    rows: Mutex<Rows>,
    failure: Failure,
}

enum Rows {
    /// Planned, or read already.
    None,
    /// For the one scan of the plan.
    Live(Inlet),
    /// For any number of scans.
    Spooled(Arc<RefCountedTempFile>),
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Live(_) => "Live",
            Self::Spooled(_) => "Spooled",
        })
    }
}

impl InputTable {
    pub(super) fn new(schema: SchemaRef, failure: Failure) -> Self {
        Self { schema, rows: Mutex::new(Rows::None), failure }
    }

    pub(super) fn provider(self: &Arc<Self>) -> Result<Arc<dyn TableProvider>, Error> {
        let partition: Arc<dyn PartitionStream> = Arc::clone(self) as Arc<dyn PartitionStream>;
        let table = StreamingTable::try_new(Arc::clone(&self.schema), vec![partition]);
        Ok(Arc::new(table.map_err(|error| Error::Internal(error.strip_backtrace()))?))
    }

    /// Gives the rows to the one scan there is.
    pub(super) fn fill(&self, inlet: Inlet) {
        *self.rows.lock() = Rows::Live(inlet);
    }

    /// Takes the rows back when no scan has asked for them.
    pub(super) fn take_unread(&self) -> Option<Inlet> {
        match std::mem::replace(&mut *self.rows.lock(), Rows::None) {
            Rows::Live(inlet) => Some(inlet),
            _ => None,
        }
    }

    /// Writes all rows to a file in the spill directory, for a plan that reads them more than once.
    pub(super) async fn spool(&self, mut inlet: Inlet, context: &TaskContext) -> Result<(), Error> {
        let broken = |error: &dyn std::fmt::Display| {
            Error::Internal(format!("cannot write rows to the spill directory: {error}"))
        };
        let file = context
            .runtime_env()
            .disk_manager
            .create_tmp_file("the rows of `input`")
            .map_err(|e| broken(&e.strip_backtrace()))?;
        let handle = File::create(file.path()).map_err(|e| broken(&e))?;
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .map_err(|e| broken(&e))?;
        let mut writer = StreamWriter::try_new_with_options(std::io::BufWriter::new(handle), &self.schema, options)
            .map_err(|e| broken(&e))?;
        while let Some(batch) = inlet.next().await {
            writer.write(&batch?).map_err(|e| broken(&e))?;
        }
        let mut buffer = writer.into_inner().map_err(|e| broken(&e))?;
        std::io::Write::flush(&mut buffer).map_err(|e| broken(&e))?;
        *self.rows.lock() = Rows::Spooled(Arc::new(file));
        Ok(())
    }

    fn live(&self, mut inlet: Inlet) -> SendableRecordBatchStream {
        let failure = Arc::clone(&self.failure);
        let batches = async_stream::stream! {
            while let Some(item) = inlet.next().await {
                yield item.map_err(|error| {
                    let text = error.to_string();
                    *failure.lock() = Some(error);
                    DataFusionError::Execution(text)
                });
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }

    fn spooled(&self, file: Arc<RefCountedTempFile>) -> SendableRecordBatchStream {
        let open = |file: &RefCountedTempFile| -> Result<_, ArrowError> {
            StreamReader::try_new(BufReader::new(File::open(file.path())?), None)
        };
        let batches: futures::stream::BoxStream<'static, _> = match open(&file) {
            Ok(reader) => {
                // The file lives as long as someone reads it.
                let batches = futures::stream::iter(reader).map(move |batch| {
                    let _file = &file;
                    batch.map_err(DataFusionError::from)
                });
                batches.boxed()
            }
            Err(error) => futures::stream::iter([Err(DataFusionError::from(error))]).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

impl PartitionStream for InputTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut rows = self.rows.lock();
        if let Rows::Spooled(file) = &*rows {
            return self.spooled(Arc::clone(file));
        }
        match std::mem::replace(&mut *rows, Rows::None) {
            Rows::Live(inlet) => self.live(inlet),
            _ => {
                let twice = DataFusionError::Internal(
                    "the table `input` was read twice by a plan that reads it once".to_owned(),
                );
                let once = futures::stream::iter([Err(twice)]);
                Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), once))
            }
        }
    }
}
