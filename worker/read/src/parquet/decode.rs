//! A row group becomes batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::Field;
use moulin_core::{PlannedFile, Room};
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};

use super::footer::{damaged, guarded};
use super::{Reading, prune};
use crate::pipeline::batch_error;
use crate::{Error, iceberg_type_name};

/// Rows of a batch.
const BATCH_ROWS: usize = 32 << 10;

impl Reading {
    /// Decodes the columns at `places` of a row group until nobody takes its batches.
    pub(super) fn decode(
        &self,
        file: &PlannedFile,
        footer: ArrowReaderMetadata,
        group: usize,
        places: &[usize],
        mut emit: impl FnMut(RecordBatch) -> bool,
    ) -> Result<(), Error> {
        let rows =
            if self.conditions.is_empty() { None } else { prune::rows(&footer, &self.all, &self.conditions, group) };
        let expected = match &rows {
            Some(rows) => rows.row_count() as u64,
            None => u64::try_from(footer.metadata().row_group(group).num_rows()).unwrap_or(0),
        };
        let mut found = 0;
        // A batch has the columns that were asked for, in the order of the file.
        let mut in_order = places.to_vec();
        in_order.sort_unstable();
        let ranks: Vec<usize> = places.iter().map(|place| in_order.partition_point(|other| other < place)).collect();
        let mut decoder = decoder(&footer, group, places, rows)
            .map_err(|reason| self.blame(file, &footer, group, places, &reason))?;
        loop {
            let step = self.counters.timed(Room::Read, || guarded(|| decoder.try_decode()));
            match step.map_err(|reason| self.blame(file, &footer, group, places, &reason))? {
                DecodeResult::NeedsData(ranges) => {
                    let parts = self.input.fetcher.ranges(file, &ranges, &self.counters, &self.runtime)?;
                    guarded(|| decoder.push_ranges(ranges, parts)).map_err(|reason| damaged(file, reason))?;
                }
                DecodeResult::Data(batch) => {
                    found += batch.num_rows() as u64;
                    let batch = self.counters.timed(Room::Read, || self.fitted(file, &batch, &ranks))?;
                    if !emit(batch) {
                        return Ok(());
                    }
                }
                DecodeResult::Finished if found != expected => {
                    return Err(damaged(file, format!("row group {group} holds {found} rows, expected {expected}")));
                }
                DecodeResult::Finished => return Ok(()),
            }
        }
    }

    /// The error of a row group that cannot be decoded. Each column is decoded alone to find the damaged one.
    fn blame(
        &self,
        file: &PlannedFile,
        footer: &ArrowReaderMetadata,
        group: usize,
        places: &[usize],
        reason: &str,
    ) -> Error {
        let guilty = places.iter().find(|place| self.fails(file, footer, group, **place));
        let column = guilty.map(|place| format!(", column `{}`", footer.schema().field(*place).name()));
        damaged(file, format!("row group {group}{}: {reason}", column.unwrap_or_default()))
    }

    /// Whether one column alone cannot be decoded.
    fn fails(&self, file: &PlannedFile, footer: &ArrowReaderMetadata, group: usize, place: usize) -> bool {
        let Ok(mut decoder) = decoder(footer, group, &[place], None) else { return true };
        loop {
            match guarded(|| decoder.try_decode()) {
                Err(_) => return true,
                Ok(DecodeResult::Finished) => return false,
                Ok(DecodeResult::Data(_)) => {}
                Ok(DecodeResult::NeedsData(ranges)) => {
                    let parts = self.input.fetcher.ranges(file, &ranges, &self.counters, &self.runtime);
                    let pushed = parts.map(|parts| guarded(|| decoder.push_ranges(ranges, parts)));
                    if !matches!(pushed, Ok(Ok(()))) {
                        return false;
                    }
                }
            }
        }
    }

    /// The batch with the columns and types of the schema, of which each has its place in the batch.
    fn fitted(&self, file: &PlannedFile, batch: &RecordBatch, ranks: &[usize]) -> Result<RecordBatch, Error> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let column = |(field, rank): (&Arc<Field>, &usize)| -> Result<ArrayRef, Error> {
            let array = batch.column(*rank);
            if array.data_type() == field.data_type() {
                return Ok(Arc::clone(array));
            }
            cast_with_options(array, field.data_type(), &options).map_err(|error| {
                let ty = iceberg_type_name(field.data_type());
                damaged(file, format!("column `{}` cannot be made {ty}: {error}", field.name()))
            })
        };
        let columns = self.schema.fields().iter().zip(ranks).map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(batch_error)
    }
}

/// A decoder of the columns at `places` of one row group.
fn decoder(
    footer: &ArrowReaderMetadata,
    group: usize,
    places: &[usize],
    rows: Option<RowSelection>,
) -> Result<ParquetPushDecoder, String> {
    let mask = ProjectionMask::roots(footer.parquet_schema(), places.iter().copied());
    let builder = ParquetPushDecoderBuilder::new_with_metadata(footer.clone());
    let builder = builder.with_row_groups(vec![group]).with_batch_size(BATCH_ROWS).with_projection(mask);
    let builder = match rows {
        Some(rows) => builder.with_row_selection(rows),
        None => builder,
    };
    guarded(|| builder.build())
}
