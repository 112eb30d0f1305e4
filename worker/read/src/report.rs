//! What a sample of the files holds, column by column: the types, why, and the values themselves.
//!
//! The sample is read the way a job reads it, so that counts and bounds are those of values, not of texts.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::{SortOptions, concat_batches, sort_to_indices};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use moulin_core::{Counters, InferReport, InferredColumn, OnBadRow, PlannedFile, Source};
use tokio::sync::mpsc;

use crate::fault::shown;
use crate::fetch::Fetcher;
use crate::pipeline::batch_error;
use crate::{Error, InputSchema, Origin, ReadOptions, batches, iceberg_type_name, schema};

/// What the first rows of the input hold (`source.inference` says how many). What the source declares stands; types of
/// other columns are found as a job finds them, so the same bytes have the same answer.
///
/// # Errors
/// As [`schema`] and [`batches`]; bad rows are counted.
pub async fn infer(fetcher: &Fetcher, source: &Source, files: &[PlannedFile]) -> Result<InferReport, Error> {
    let found = schema(fetcher, source, files).await?;
    let (mut rows, mut values) = (0, RecordBatch::new_empty(Arc::clone(&found.arrow)));
    // One file at a time: the first that has a record is the one that types were inferred from.
    for file in files {
        (rows, values) = first_rows(fetcher, source, file, &found).await?;
        if rows > 0 {
            break;
        }
    }
    let columns = found.arrow.fields().iter().enumerate();
    let columns = columns.map(|(at, field)| {
        let array = values.column(at);
        let (min, max) = (bound(array, false), bound(array, true));
        InferredColumn {
            name: field.name().clone(),
            ty: iceberg_type_name(field.data_type()),
            origin: found.origins[at].as_str().to_owned(),
            values: array.len() as u64,
            nulls: array.logical_null_count() as u64,
            min,
            max,
            reason: reason(&found, at),
        }
    });
    Ok(InferReport {
        files: files.to_vec(),
        columns: columns.collect(),
        rows,
        rows_bad: rows - values.num_rows() as u64,
        options: source.options(&found.sample.sniffed),
    })
}

fn reason(found: &InputSchema, at: usize) -> String {
    let seen = found.sample.reasons.get(at).map_or("", String::as_str);
    match found.origins[at] {
        Origin::Declared if seen.is_empty() => "declared".to_owned(),
        Origin::Declared => format!("declared; in the sample {seen}"),
        Origin::Inferred => seen.to_owned(),
        Origin::File => "the file says it".to_owned(),
        #[allow(unreachable_patterns, reason = "columns that the reader adds")]
        other => format!("a {} column", other.as_str()),
    }
}

/// The good rows among the first records of a file, and how many records these are.
async fn first_rows(
    fetcher: &Fetcher,
    source: &Source,
    file: &PlannedFile,
    found: &InputSchema,
) -> Result<(u64, RecordBatch), Error> {
    // A format that says its types itself has no sample of its own.
    let limit = if found.sample.rows == 0 { source.inference.sample_rows } else { found.sample.rows };
    let source = Source { preserve_order: true, ..source.clone() };
    let (sender, mut rejects) = mpsc::channel(1);
    // Where the bad rows stand says which of them are among the first records: the reader is ahead of what is taken.
    let bad = tokio::spawn(async move {
        let mut places: Vec<u64> = Vec::new();
        while let Some(batch) = rejects.recv().await {
            places.extend(records(&batch));
        }
        places
    });
    let options = ReadOptions {
        on_bad_row: OnBadRow::Quarantine,
        threads: 1,
        rejects: Some(sender),
        most_rows: Some(limit),
        ..ReadOptions::new(Arc::new(Counters::default()))
    };
    let mut taken = vec![RecordBatch::new_empty(Arc::clone(&found.arrow))];
    let mut good = 0;
    let mut stream = batches(fetcher, &source, std::slice::from_ref(file), found, options);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        good += batch.num_rows() as u64;
        taken.push(batch);
    }
    drop(stream);
    let mut places =
        bad.await.map_err(|error| Error::Internal(format!("the task that counts bad rows ended: {error}")))?;
    places.sort_unstable();
    let bad = among_the_first(&places, good, limit);
    let values = concat_batches(&found.arrow, &taken).map_err(batch_error)?;
    let rows = (good + bad).min(limit);
    Ok((rows, values.slice(0, (rows - bad) as usize)))
}

/// How many of the bad records stand among the first `limit`, when so many good ones were read.
fn among_the_first(places: &[u64], good: u64, limit: u64) -> u64 {
    let last = (good + places.len() as u64).min(limit);
    places.iter().filter(|place| **place <= last).count() as u64
}

fn records(batch: &RecordBatch) -> Vec<u64> {
    use arrow::array::AsArray as _;
    let Some(column) = batch.column_by_name("record") else { return Vec::new() };
    let Some(column) = column.as_primitive_opt::<arrow::datatypes::Int64Type>() else { return Vec::new() };
    column.values().iter().map(|record| u64::try_from(*record).unwrap_or(0)).collect()
}

/// The smallest or largest value as text; empty when there is none, or the type has no order.
fn bound(array: &dyn Array, largest: bool) -> String {
    let options = SortOptions { descending: largest, nulls_first: false };
    let Ok(order) = sort_to_indices(array, Some(options), Some(1)) else { return String::new() };
    let Some(row) = order.values().first().map(|row| *row as usize).filter(|row| array.is_valid(*row)) else {
        return String::new();
    };
    let formats = FormatOptions::new();
    ArrayFormatter::try_new(array, &formats)
        .map(|formatter| shown(formatter.value(row).to_string().as_bytes()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gzip file of rows that do not fit; it ends too early, as whoever reads it whole finds out.
    fn without_its_end(path: &std::path::Path) {
        use std::io::Write as _;
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let rows: String = (0..20_000).map(|n| format!("x{n}\n")).collect();
        writer.write_all(b"n\n1\n").unwrap();
        (0..100).for_each(|_| writer.write_all(rows.as_bytes()).unwrap());
        let bytes = writer.finish().unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 8]).unwrap();
    }

    #[test]
    fn no_more_than_the_sample_is_read_when_its_rows_are_bad() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv.gz");
        without_its_end(&path);
        let columns = vec![moulin_core::Column::new("n", moulin_core::PrimitiveType::Long)];
        let format = moulin_core::Format::Csv(moulin_core::CsvFormat::default());
        let source = Source { columns, ..Source::new(vec![path.display().to_string()], format) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let report = runtime.block_on(async {
            let fetcher = Fetcher::new(&moulin_core::StorageSettings::default()).unwrap();
            let files = fetcher.list(&source.uris).await.unwrap();
            super::infer(&fetcher, &source, &files).await
        });
        let report = report.unwrap();
        assert_eq!((report.rows, report.rows_bad, report.columns[0].max.as_str()), (10_000, 9_999, "1"));
    }

    #[test]
    fn bad_rows_are_counted_among_the_first_records_only() {
        // Records 2 and 4 are bad; so many good ones were read, and so many records are looked at.
        for (good, limit, bad) in [(2, 10, 2), (2, 4, 2), (2, 3, 1), (5, 2, 1), (5, 1, 0), (0, 10, 1)] {
            assert_eq!(among_the_first(&[2, 4], good, limit), bad, "{good} good ones of {limit}");
        }
        // A reader that is ahead has seen a bad row behind those that were taken.
        assert_eq!(among_the_first(&[9], 3, 100), 0);
    }
}
