//! Options that a source can ask for and no reader has yet: refused, never passed over.

use moulin_core::{Contract, CsvFormat, DuplicateKeys, Format, OnBadFile, ReadLimits, Source};

use crate::Error;

/// # Errors
/// `Schema`, naming the option.
pub(crate) fn refuse(source: &Source) -> Result<(), Error> {
    let asked = [
        ("source.provenance_columns", !source.provenance_columns.is_empty()),
        ("source.partition_columns", source.partition_columns),
        ("source.on_bad_file", source.on_bad_file != OnBadFile::Fail),
        ("source.contract", source.contract != Contract::default()),
        ("source.rescued_column", source.rescued_column.is_some()),
        ("one of source.limits", !limits_are_built(source.limits)),
        (
            "an option of a column besides its type",
            source.columns.iter().any(|column| column.text != Default::default()),
        ),
    ];
    let format = match &source.format {
        Format::Csv(csv) => csv_option(csv),
        Format::Ndjson(json) => (json.duplicate_keys != DuplicateKeys::Last).then_some("ndjson.duplicate_keys"),
        Format::Json(_) => Some("json"),
        Format::Parquet => None,
    };
    match asked.into_iter().find_map(|(name, asked)| asked.then_some(name)).or(format) {
        Some(name) => Err(Error::Schema(format!("no reader of this worker has {name} yet"))),
        None => Ok(()),
    }
}

fn limits_are_built(limits: ReadLimits) -> bool {
    let ReadLimits { record_bytes, inflation_ratio, inflated_bytes, .. } = limits;
    limits == ReadLimits { record_bytes, inflation_ratio, inflated_bytes, ..ReadLimits::default() }
}

fn csv_option(csv: &CsvFormat) -> Option<&'static str> {
    // What the reader has, taken over; all else must be the default.
    let built = CsvFormat {
        delimiter: csv.delimiter.clone(),
        quote: csv.quote,
        quoting: csv.quoting,
        header: csv.header,
        null_values: csv.null_values.clone(),
        skip_lines: csv.skip_lines,
        comment: csv.comment.clone(),
        ..CsvFormat::default()
    };
    let single = csv.delimiter.len() == 1 && csv.comment.as_ref().is_none_or(|comment| comment.len() == 1);
    (built != *csv || !single).then_some("one of the csv options")
}
