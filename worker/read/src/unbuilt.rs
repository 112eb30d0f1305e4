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
            !matches!(source.format, Format::Csv(_))
                && source.columns.iter().any(|column| column.text != Default::default()),
        ),
    ];
    let format = match &source.format {
        Format::Csv(csv) => csv_option(csv),
        Format::Json(_) | Format::Ndjson(_) | Format::Parquet => None,
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
    csv.auto_dialect.then_some("csv.auto_dialect")
}
