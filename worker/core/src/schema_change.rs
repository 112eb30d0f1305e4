//! The differences between the rows of a job and its table, and what the contract says to each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ColumnType, Contract, ContractMode, Fault, FaultKind, PlannedColumn, PrimitiveType, TypeField};

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

impl fmt::Display for SchemaChange {
    /// The difference: ``column `x` is int in the table, but long in the rows``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, from, to, .. } = self;
        match self.kind {
            SchemaChangeKind::AddColumn => write!(f, "column `{column}` ({to}) is not in the table"),
            SchemaChangeKind::WidenType | SchemaChangeKind::ChangeType => {
                write!(f, "column `{column}` is {from} in the table, but {to} in the rows")
            }
            SchemaChangeKind::MakeOptional if to.is_empty() => {
                write!(f, "the table requires column `{column}` ({from}), which the rows do not have")
            }
            SchemaChangeKind::MakeOptional => {
                write!(f, "the table requires column `{column}` ({from}), which may be null in the rows")
            }
        }
    }
}

impl SchemaChange {
    /// What happens, for people: the difference and what is done about it.
    #[must_use]
    pub fn words(&self) -> String {
        let done = match (self.mode, self.kind) {
            (ContractMode::Freeze, _) => "the contract freezes it: the job is refused",
            (ContractMode::DiscardRow, _) => "rows with such a value are bad rows",
            (ContractMode::DiscardValue, _) => "such values are left out",
            (ContractMode::Evolve, SchemaChangeKind::AddColumn) => "the column is to be added",
            (ContractMode::Evolve, SchemaChangeKind::WidenType) => "the table's type is to be widened",
            (ContractMode::Evolve, SchemaChangeKind::ChangeType) => "no type holds both: the job is refused",
            (ContractMode::Evolve, SchemaChangeKind::MakeOptional) => "the column is to become optional",
        };
        format!("{self}; {done}")
    }

    /// The refusal of a difference that the contract freezes; `None`: the contract lets it be.
    #[must_use]
    pub fn frozen(&self, table: &str) -> Option<Fault> {
        if self.mode != ContractMode::Freeze {
            return None;
        }
        let what = match self.kind {
            SchemaChangeKind::AddColumn | SchemaChangeKind::MakeOptional => "columns",
            SchemaChangeKind::WidenType | SchemaChangeKind::ChangeType => "types",
        };
        let message = format!("{table}: {self}, and source.contract.{what} does not let it change");
        let hint = "make the rows as the table is in the transform, or let the contract evolve";
        Some(Fault::new(FaultKind::SchemaMismatch, message).with_hint(hint))
    }
}

/// What differs between rows and the table that takes them, in the order of the rows' columns, with what the contract
/// says to each. Columns are matched by name; one that the table has and the rows lack is null in the rows.
///
/// Types follow the promotions of the Iceberg specification ("Schema Evolution", version 2): rows of a narrower type fit
/// a wider column as it is, and a column can be widened from `int` to `long`, from `float` to `double` and to a decimal of
/// more digits with the same scale. A type that is not one of [`ColumnType`] only fits itself.
#[must_use]
pub fn schema_changes(rows: &[PlannedColumn], table: &[PlannedColumn], contract: &Contract) -> Vec<SchemaChange> {
    let mut found = Found { contract, changes: Vec::new() };
    for column in rows {
        match table.iter().find(|other| other.name == column.name) {
            None => found.add(&column.name, &column.ty),
            Some(there) => {
                match (there.ty.parse::<ColumnType>(), column.ty.parse::<ColumnType>()) {
                    (Ok(from), Ok(to)) => found.compare(&column.name, &from, &to),
                    _ if there.ty == column.ty => {}
                    // A uuid is sixteen bytes for whoever writes it.
                    _ if there.ty == "uuid" && column.ty == "fixed[16]" => {}
                    _ => found.change(&column.name, SchemaChangeKind::ChangeType, &there.ty, &column.ty),
                }
            }
        }
    }
    for column in table.iter().filter(|column| !column.nullable) {
        if !rows.iter().any(|other| other.name == column.name) {
            found.change(&column.name, SchemaChangeKind::MakeOptional, &column.ty, "");
        }
    }
    found.changes
}

struct Found<'a> {
    contract: &'a Contract,
    changes: Vec<SchemaChange>,
}

impl Found<'_> {
    fn add(&mut self, path: &str, to: &str) {
        self.change(path, SchemaChangeKind::AddColumn, "", to);
    }

    fn change(&mut self, path: &str, kind: SchemaChangeKind, from: &str, to: &str) {
        let mode = match kind {
            SchemaChangeKind::AddColumn => self.contract.columns,
            // There is no value that could be left out.
            SchemaChangeKind::MakeOptional if self.contract.columns == ContractMode::Evolve => ContractMode::Evolve,
            SchemaChangeKind::MakeOptional => ContractMode::Freeze,
            SchemaChangeKind::WidenType | SchemaChangeKind::ChangeType => self.contract.types,
        };
        self.changes.push(SchemaChange {
            column: path.to_owned(),
            kind,
            from: from.to_owned(),
            to: to.to_owned(),
            mode,
        });
    }

    /// `from` is the table's type, `to` that of the rows.
    fn compare(&mut self, path: &str, from: &ColumnType, to: &ColumnType) {
        match (from, to) {
            (ColumnType::Primitive(from), ColumnType::Primitive(to)) => {
                if promotes(*to, *from) {
                    return;
                }
                let kind =
                    if promotes(*from, *to) { SchemaChangeKind::WidenType } else { SchemaChangeKind::ChangeType };
                self.change(path, kind, &from.to_string(), &to.to_string());
            }
            (ColumnType::List(from), ColumnType::List(to)) => self.compare(&format!("{path}.element"), from, to),
            (ColumnType::Map(from), ColumnType::Map(to)) => self.compare(&format!("{path}.value"), from, to),
            (ColumnType::Struct(from), ColumnType::Struct(to)) => self.compare_fields(path, from, to),
            _ => self.change(path, SchemaChangeKind::ChangeType, &from.to_string(), &to.to_string()),
        }
    }

    fn compare_fields(&mut self, path: &str, from: &[TypeField], to: &[TypeField]) {
        for field in to {
            let path = format!("{path}.{}", field.name);
            match from.iter().find(|other| other.name == field.name) {
                Some(there) => self.compare(&path, &there.ty, &field.ty),
                None => self.add(&path, &field.ty.to_string()),
            }
        }
    }
}

/// Whether every value of `narrow` is one of `wide`, by the promotions that Iceberg has.
fn promotes(narrow: PrimitiveType, wide: PrimitiveType) -> bool {
    match (narrow, wide) {
        (PrimitiveType::Int, PrimitiveType::Long) | (PrimitiveType::Float, PrimitiveType::Double) => true,
        (PrimitiveType::Decimal { precision: a, scale: s }, PrimitiveType::Decimal { precision: b, scale: t }) => {
            s == t && a <= b
        }
        _ => narrow == wide,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(columns: &[(&str, &str)]) -> Vec<PlannedColumn> {
        let column = |(name, ty): &(&str, &str)| PlannedColumn {
            name: (*name).to_owned(),
            ty: (*ty).trim_end_matches('!').to_owned(),
            nullable: !ty.ends_with('!'),
            origin: String::new(),
        };
        columns.iter().map(column).collect()
    }

    fn changes(rows: &str, table: &str) -> Vec<String> {
        let found = schema_changes(&columns(&[("c", rows)]), &columns(&[("c", table)]), &Contract::default());
        found
            .iter()
            .map(|change| format!("{:?} {}: {} -> {}", change.kind, change.column, change.from, change.to))
            .collect()
    }

    #[test]
    fn types_differ_as_iceberg_says() {
        let none: [&str; 0] = [];
        for (rows, table) in [
            ("int", "long"),
            ("float", "double"),
            ("decimal(9,2)", "decimal(12,2)"),
            ("list<int>", "list<long>"),
            ("struct<a: int>", "struct<b: string, a: long>"),
            ("fixed[16]", "uuid"),
            ("fixed[4]", "fixed[4]"),
        ] {
            assert_eq!(changes(rows, table), none, "{rows} into {table}");
        }
        for (rows, table, expected) in [
            ("long", "int", "WidenType c: int -> long"),
            ("double", "float", "WidenType c: float -> double"),
            ("decimal(12,2)", "decimal(9,2)", "WidenType c: decimal(9,2) -> decimal(12,2)"),
            ("decimal(12,3)", "decimal(9,2)", "ChangeType c: decimal(9,2) -> decimal(12,3)"),
            ("string", "int", "ChangeType c: int -> string"),
            ("timestamp", "date", "ChangeType c: date -> timestamp"),
            ("list<long>", "list<int>", "WidenType c.element: int -> long"),
            ("map<string, long>", "map<string, int>", "WidenType c.value: int -> long"),
            ("struct<a: int, b: list<string>>", "struct<a: int>", "AddColumn c.b:  -> list<string>"),
            ("list<int>", "int", "ChangeType c: int -> list<int>"),
            ("fixed[8]", "fixed[4]", "ChangeType c: fixed[4] -> fixed[8]"),
        ] {
            assert_eq!(changes(rows, table), [expected], "{rows} into {table}");
        }
    }

    #[test]
    fn new_and_required_columns_are_differences_and_missing_optional_ones_are_none() {
        let contract = Contract { columns: ContractMode::DiscardValue, ..Contract::default() };
        let rows = columns(&[("a", "int"), ("new", "string")]);
        let table = columns(&[("a", "int"), ("optional", "int"), ("required", "long!")]);
        let found = schema_changes(&rows, &table, &contract);
        let words: Vec<String> = found.iter().map(SchemaChange::words).collect();
        assert_eq!(
            words,
            [
                "column `new` (string) is not in the table; such values are left out",
                "the table requires column `required` (long), which the rows do not have; the contract freezes it: the job is refused",
            ]
        );
    }

    #[test]
    fn a_frozen_difference_is_refused_by_name() {
        let contract = Contract { types: ContractMode::Freeze, ..Contract::default() };
        let found = schema_changes(&columns(&[("a", "long"), ("b", "int")]), &columns(&[("a", "int")]), &contract);
        let refused: Vec<Option<String>> =
            found.iter().map(|change| change.frozen("s.t").map(|fault| fault.message)).collect();
        let message = "s.t: column `a` is int in the table, but long in the rows, and source.contract.types does not let it change";
        assert_eq!(refused, [Some(message.to_owned()), None]);
    }
}
