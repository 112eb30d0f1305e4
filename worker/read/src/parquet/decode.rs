//! A row group becomes batches.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use moulin_core::{PlannedFile, Room};
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};

use super::fit::Fit;
use super::footer::{caught, damaged, guarded};
use super::sizes::{self, Sizes};
use super::{Reading, checksums, prune, roots, rows_of};
use crate::Error;
use crate::pipeline::{Parsed, batch_error};

impl Reading {
    /// Decodes a row group until nobody takes its batches.
    pub(super) fn decode(
        &self,
        file: &PlannedFile,
        footer: ArrowReaderMetadata,
        group: usize,
        fit: &Fit,
        mut emit: impl FnMut(Parsed) -> bool,
    ) -> Result<(), Error> {
        let places = &fit.places();
        let wanted = || prune::rows(&footer, &self.all, &self.conditions, group);
        // Statistics that contradict each other say nothing.
        let rows = if self.conditions.is_empty() { None } else { caught(wanted).ok().flatten() };
        let all = rows_of(footer.metadata().row_group(group));
        let expected = rows.as_ref().map_or(all, |rows| rows.row_count() as u64);
        self.pass_over(all.saturating_sub(expected));
        let mut found = 0;
        let mut sizes = Sizes::of(&footer, group, places);
        let mut decoding = decoder(&sizes, group, places, rows.clone())
            .map_err(|reason| self.blame(file, &footer, group, places, &reason))?;
        loop {
            let step = self.counters.timed(Room::Read, || guarded(|| decoding.try_decode()));
            match step.map_err(|reason| self.blame(file, &footer, group, places, &reason))? {
                DecodeResult::NeedsData(ranges) => {
                    let parts = self.input.fetcher.ranges(file, &ranges, &self.counters, &self.runtime);
                    let parts = parts.map_err(|error| beyond(file, &footer, group, places, error))?;
                    self.counters.timed(Room::Read, || checksums::check(file, &footer, group, &ranges, &parts))?;
                    if found == 0 && sizes.are_exceeded(&parts) {
                        sizes = sizes.with_views(places);
                        decoding = decoder(&sizes, group, places, rows.clone())
                            .map_err(|reason| self.blame(file, &footer, group, places, &reason))?;
                    }
                    guarded(|| decoding.push_ranges(ranges, parts)).map_err(|reason| damaged(file, reason))?;
                }
                DecodeResult::Data(batch) => {
                    found += batch.num_rows() as u64;
                    for part in sizes::parts(&batch) {
                        let work = || caught(|| self.made_plain(file, &part, footer.schema(), fit));
                        let parsed = self.counters.timed(Room::Read, work);
                        if !emit(parsed.map_err(|reason| damaged(file, format!("row group {group}: {reason}")))??) {
                            return Ok(());
                        }
                    }
                }
                DecodeResult::Finished if found != expected => {
                    let reason = format!("it holds {found} rows, expected {expected}");
                    return Err(self.blame(file, &footer, group, places, &reason));
                }
                DecodeResult::Finished => return Ok(()),
            }
        }
    }

    /// The rows of a part of a batch, whose texts may be views.
    fn made_plain(
        &self,
        file: &PlannedFile,
        part: &RecordBatch,
        found: &SchemaRef,
        fit: &Fit,
    ) -> Result<Parsed, Error> {
        let part = sizes::plain(part, found, &fit.places()).map_err(batch_error)?;
        self.fitted(file, &part, fit)
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

    /// Whether one column alone cannot be decoded, or has not the rows that it should.
    fn fails(&self, file: &PlannedFile, footer: &ArrowReaderMetadata, group: usize, place: usize) -> bool {
        let sizes = Sizes::of(footer, group, &[place]).with_views(&[place]);
        let Ok(mut decoder) = decoder(&sizes, group, &[place], None) else { return true };
        let mut found = 0;
        loop {
            match guarded(|| decoder.try_decode()) {
                Err(_) => return true,
                Ok(DecodeResult::Finished) => return found != rows_of(footer.metadata().row_group(group)),
                Ok(DecodeResult::Data(batch)) => found += batch.num_rows() as u64,
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
}

/// The error of bytes that cannot be had: where the file ends before them, with the row group and the column whose they
/// are.
fn beyond(file: &PlannedFile, footer: &ArrowReaderMetadata, group: usize, places: &[usize], error: Error) -> Error {
    let Error::BadFile { reason, .. } = &error else { return error };
    let leaves = footer.metadata().row_group(group).columns().iter().enumerate();
    let is_beyond = |(leaf, place): &(usize, usize)| {
        let column = footer.metadata().row_group(group).column(*leaf);
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let end = u64::try_from(start.saturating_add(column.compressed_size())).unwrap_or(u64::MAX);
        places.contains(place) && end > file.size_bytes
    };
    let mut leaves = leaves.filter_map(|(leaf, _)| Some((leaf, roots::place(footer, leaf)?)));
    match leaves.find(is_beyond) {
        Some((_, place)) => {
            let column = footer.schema().field(place).name();
            damaged(file, format!("row group {group}, column `{column}`: {reason}"))
        }
        None => error,
    }
}

/// A decoder of the columns at `places` of one row group.
fn decoder(
    Sizes { footer, rows: batch_rows, .. }: &Sizes,
    group: usize,
    places: &[usize],
    rows: Option<RowSelection>,
) -> Result<ParquetPushDecoder, String> {
    let builder = ParquetPushDecoderBuilder::new_with_metadata(footer.clone());
    let builder = builder.with_row_groups(vec![group]).with_batch_size(*batch_rows);
    let builder = builder.with_projection(roots::mask(footer, places));
    let builder = match rows {
        Some(rows) => builder.with_row_selection(rows),
        None => builder,
    };
    guarded(|| builder.build())
}
