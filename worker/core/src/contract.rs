//! What may differ between rows and their schema.

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind};

/// What may differ between the rows and the schema: the declared columns, and the table when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contract {
    /// A table that is not there.
    pub tables: ContractMode,
    /// A column that the schema does not have.
    pub columns: ContractMode,
    /// A value that is none of its column's type.
    pub types: ContractMode,
}

/// What to do with a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractMode {
    /// The table follows.
    #[default]
    Evolve,
    /// The job fails and names the difference.
    Freeze,
    /// The row is a bad row.
    DiscardRow,
    /// The value is left out and the row kept.
    DiscardValue,
}

impl ContractMode {
    /// `evolve`, `freeze`, `discard_row` or `discard_value`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evolve => "evolve",
            Self::Freeze => "freeze",
            Self::DiscardRow => "discard_row",
            Self::DiscardValue => "discard_value",
        }
    }
}

impl Contract {
    pub(crate) fn validate(self) -> Result<(), Fault> {
        if matches!(self.tables, ContractMode::Evolve | ContractMode::Freeze) {
            return Ok(());
        }
        let message =
            format!("source.contract.tables is {}; a table is made (evolve) or not (freeze)", self.tables.as_str());
        Err(Fault::new(FaultKind::InvalidSpec, message))
    }
}
