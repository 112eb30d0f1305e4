//! Options that a source can ask for and no reader has yet: refused, never passed over.

use moulin_core::{Contract, CsvFormat, Format, ReadLimits, Source};

use crate::Error;

/// # Errors
/// `Schema`, naming the option.
pub(crate) fn refuse(source: &Source) -> Result<(), Error> {
    let is_json = matches!(source.format, Format::Ndjson(_) | Format::Json(_));
    let asked = [
        ("source.contract", !is_json && source.contract != Contract::default()),
        ("source.rescued_column", !is_json && source.rescued_column.is_some()),
        ("one of source.limits", !is_json && !limits_are_built(source)),
        (
            "an option of a column besides its type",
            source.columns.iter().any(|column| column.text != Default::default()),
        ),
    ];
    let format = match &source.format {
        Format::Csv(csv) => csv_option(csv),
        Format::Json(_) => Some("json"),
        Format::Ndjson(_) | Format::Parquet => None,
    };
    match asked.into_iter().find_map(|(name, asked)| asked.then_some(name)).or(format) {
        Some(name) => Err(Error::Schema(format!("no reader of this worker has {name} yet"))),
        None => Ok(()),
    }
}

fn limits_are_built(source: &Source) -> bool {
    let limits = source.limits;
    let ReadLimits { record_bytes, inflation_ratio, inflated_bytes, .. } = limits;
    matches!(source.format, Format::Csv(_))
        || limits == ReadLimits { record_bytes, inflation_ratio, inflated_bytes, ..ReadLimits::default() }
}

fn csv_option(csv: &CsvFormat) -> Option<&'static str> {
    let asked = [
        ("csv.true_values", !csv.true_values.is_empty()),
        ("csv.false_values", !csv.false_values.is_empty()),
        ("csv.decimal_separator", csv.decimal_separator != b'.'),
        ("csv.thousands_separator", csv.thousands_separator.is_some()),
        ("csv.date_format", csv.date_format.is_some()),
        ("csv.time_format", csv.time_format.is_some()),
        ("csv.timestamp_format", csv.timestamp_format.is_some()),
        ("csv.timezone", csv.timezone.is_some()),
        ("csv.auto_dialect", csv.auto_dialect),
    ];
    asked.into_iter().find_map(|(name, asked)| asked.then_some(name))
}
