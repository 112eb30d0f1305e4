//! Batches to Flight messages.
//!
//! The encoder of `arrow-flight` cannot attach metadata to one message of a stream, which is how a reader is told
//! that rows were dropped: <https://arrow.apache.org/docs/format/Flight.html> (`FlightData.app_metadata`).

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::{CompressionContext, DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_flight::{FlightData, SchemaAsIpc};

/// Bytes of one message, about. Clients of gRPC refuse messages over 4 MiB unless told otherwise.
const MESSAGE_BYTES: usize = 2 << 20;

/// Encodes the batches of one schema.
pub(super) struct Encoder {
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    compression: CompressionContext,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            options: IpcWriteOptions::default(),
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(false),
            compression: CompressionContext::default(),
        }
    }

    /// The first message of every stream.
    pub(super) fn schema(&self, schema: &Schema) -> FlightData {
        SchemaAsIpc::new(schema, &self.options).into()
    }

    /// A batch as one or several messages; `metadata` goes with the first.
    ///
    /// # Errors
    /// A type that Arrow's IPC format does not have.
    pub(super) fn batch(
        &mut self,
        batch: &RecordBatch,
        metadata: Option<String>,
    ) -> Result<Vec<FlightData>, ArrowError> {
        let mut messages = Vec::new();
        for part in split(batch) {
            let (dictionaries, data) =
                self.generator.encode(&part, &mut self.dictionaries, &self.options, &mut self.compression)?;
            messages.extend(dictionaries.into_iter().map(FlightData::from));
            messages.push(data.into());
        }
        if let (Some(metadata), Some(first)) = (metadata, messages.first_mut()) {
            first.app_metadata = metadata.into();
        }
        Ok(messages)
    }
}

/// Slices of a batch, each about as large as a message may be; one even when there are no rows.
fn split(batch: &RecordBatch) -> Vec<RecordBatch> {
    let parts = batch.get_array_memory_size().div_ceil(MESSAGE_BYTES).clamp(1, batch.num_rows().max(1));
    let rows = batch.num_rows().div_ceil(parts).max(1);
    let mut slices = Vec::with_capacity(parts);
    let mut offset = 0;
    while offset < batch.num_rows() {
        let length = rows.min(batch.num_rows() - offset);
        slices.push(batch.slice(offset, length));
        offset += length;
    }
    if slices.is_empty() {
        slices.push(batch.clone());
    }
    slices
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};

    use super::*;

    #[test]
    fn a_large_batch_becomes_several_messages_with_all_rows() {
        let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..100_000).map(|n| format!("{n:0100}"))));
        let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
        let parts = split(&batch);
        assert!(parts.len() >= 5, "{}", parts.len());
        assert_eq!(parts.iter().map(RecordBatch::num_rows).sum::<usize>(), 100_000);
        let mut encoder = Encoder::new();
        let messages = encoder.batch(&batch, Some("note".into())).unwrap();
        assert_eq!(&messages[0].app_metadata[..], b"note");
        assert!(messages.iter().all(|m| m.data_body.len() < 3 << 20));
    }

    #[test]
    fn a_batch_without_rows_is_one_message() {
        let text: ArrayRef = Arc::new(StringArray::from_iter_values(Vec::<String>::new()));
        let batch = RecordBatch::try_from_iter([("text", text)]).unwrap();
        assert_eq!(Encoder::new().batch(&batch, None).unwrap().len(), 1);
    }
}
