//! What may differ between rows and their schema, and the differences that were found.

use serde::{Deserialize, Serialize};

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

/// A difference between the rows and the table, and what the contract says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaChange {
    /// The column, with dots for fields of structs.
    pub column: String,
    /// What is different.
    pub kind: SchemaChangeKind,
    /// The type in the table; empty: the table does not have the column.
    pub from: String,
    /// The type of the rows; empty: the rows do not have the column.
    pub to: String,
    /// What is done.
    pub mode: ContractMode,
}

/// What is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaChangeKind {
    /// The rows have a column that the table does not have.
    AddColumn,
    /// Iceberg can widen the table's type to that of the rows.
    WidenType,
    /// The types exclude each other.
    ChangeType,
    /// The table requires a column that the rows may lack.
    MakeOptional,
}
