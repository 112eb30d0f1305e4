//! Options that a source can ask for and no reader has yet: refused, never passed over.

use moulin_core::{Contract, ContractMode, Format, ReadLimits, Source};

use crate::Error;

/// # Errors
/// `Schema`, naming the option.
pub(crate) fn refuse(source: &Source) -> Result<(), Error> {
    let is_json = matches!(source.format, Format::Ndjson(_) | Format::Json(_));
    let is_csv = matches!(source.format, Format::Csv(_));
    // Tables are not the reader's concern.
    let contract = Contract { tables: ContractMode::Evolve, ..source.contract };
    let asked = [
        ("source.contract", !is_json && !is_csv && contract != Contract::default()),
        ("source.rescued_column", !is_json && !is_csv && source.rescued_column.is_some()),
        ("one of source.limits", !is_json && !limits_are_built(source)),
        (
            "an option of a column besides its type",
            !is_csv && !is_json && source.columns.iter().any(|column| column.text != Default::default()),
        ),
    ];
    match asked.into_iter().find_map(|(name, asked)| asked.then_some(name)) {
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
