//! Iceberg tables as inputs of a job.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind, TableName};

/// A table that a job reads, and which of its snapshots. Written as a map, or as the table's name alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct TableInput {
    /// `namespace.table`.
    pub table: TableName,
    /// This snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<i64>,
    /// The snapshot that this branch or tag names.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The snapshot that was the table's at this moment.
    #[serde(default, with = "moment", skip_serializing_if = "Option::is_none")]
    pub as_of: Option<SystemTime>,
    /// What was found when the job was accepted. Every attempt reads this.
    #[serde(skip)]
    pub pinned: Option<Pin>,
}

/// A table as it stood when a job was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pin {
    /// The snapshot; `None`: the table had none, so it has no rows.
    pub snapshot_id: Option<i64>,
    /// The schema whose columns the job sees.
    pub schema_id: i32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Name(TableName),
    Map(Map),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    table: TableName,
    #[serde(default)]
    snapshot_id: Option<i64>,
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    #[serde(default, with = "moment")]
    as_of: Option<SystemTime>,
}

impl From<Written> for TableInput {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(table) => Self::new(table),
            Written::Map(Map { table, snapshot_id, reference, as_of }) => {
                Self { table, snapshot_id, reference, as_of, pinned: None }
            }
        }
    }
}

impl TableInput {
    /// A table as it is when the job is accepted.
    #[must_use]
    pub fn new(table: TableName) -> Self {
        Self { table, snapshot_id: None, reference: None, as_of: None, pinned: None }
    }

    /// Whether both ask for the same rows of the same table.
    #[must_use]
    pub fn asks_as(&self, other: &Self) -> bool {
        Self { pinned: None, ..self.clone() } == Self { pinned: None, ..other.clone() }
    }

    /// Checks what can be checked without the table; `name` is the input's.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the argument.
    pub fn validate(&self, name: &str) -> Result<(), Fault> {
        let wrong = |message: String| Err(Fault::new(FaultKind::InvalidSpec, message));
        let plain = |c: char| c.is_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return wrong(format!(
                "tables: `{name}` is not a name for an input; write letters, digits and _, as SQL and Python name things"
            ));
        }
        let said = [self.snapshot_id.is_some(), self.reference.is_some(), self.as_of.is_some()];
        if said.into_iter().filter(|said| *said).count() > 1 {
            return wrong(format!("tables.{name}: say one of snapshot_id, ref and as_of, not several"));
        }
        if self.reference.as_ref().is_some_and(|reference| reference.trim().is_empty()) {
            return wrong(format!("tables.{name}.ref is empty; leave it out for the table as it is"));
        }
        Ok(())
    }
}

/// A moment as text: `2026-01-31T08:00:00Z`.
mod moment {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(value: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(moment) => serializer.collect_str(&humantime::format_rfc3339(*moment)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|t| {
            humantime::parse_rfc3339_weak(&t)
                .map_err(|_| D::Error::custom(format!("`{t}` is not a moment in UTC such as 2026-01-31T08:00:00Z")))
        })
        .transpose()
    }
}

/// What a job read of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRead {
    /// The input's name.
    pub name: String,
    /// `namespace.table`.
    pub table: String,
    /// The snapshot; `None`: the table had none.
    pub snapshot_id: Option<i64>,
    /// Rows that its scans handed on: those of the files read that are not deleted, less those that a condition of the
    /// transform let the scan leave out. A table that is scanned twice counts twice.
    pub rows_read: u64,
    /// Data files opened.
    pub files: u64,
    /// Data files that the transform's conditions let the scan leave out.
    pub files_pruned: u64,
    /// Size of the data files opened.
    pub bytes: u64,
}

/// A table that a job would read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTable {
    /// The input's name.
    pub name: String,
    /// `namespace.table`.
    pub table: String,
    /// The snapshot; `None`: the table has none.
    pub snapshot_id: Option<i64>,
    /// Its data files.
    pub files: u64,
    /// Its rows, before deletes are applied.
    pub rows: u64,
    /// Size of its data files.
    pub bytes: u64,
    /// Its columns.
    pub columns: Vec<crate::PlannedColumn>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<TableInput, String> {
        serde_norway::from_str(yaml).map_err(|e| e.to_string())
    }

    #[test]
    fn a_name_alone_is_the_table_as_it_is() {
        assert_eq!(read("bronze.flights").unwrap(), TableInput::new("bronze.flights".parse().unwrap()));
    }

    #[test]
    fn a_moment_comes_back_from_its_text() {
        let input = read("{table: a.b, as_of: 2026-01-31T08:00:00Z}").unwrap();
        let again: TableInput = serde_json::from_str(&serde_json::to_string(&input).unwrap()).unwrap();
        assert_eq!(again, input);
        assert_eq!(input.as_of.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_769_846_400);
    }

    #[test]
    fn two_ways_to_name_a_snapshot_are_refused() {
        let input = read("{table: a.b, snapshot_id: 7, ref: main}").unwrap();
        assert!(input.validate("t").unwrap_err().message.contains("one of snapshot_id, ref and as_of"));
        assert!(read("a.b").unwrap().validate("1 t").unwrap_err().message.contains("not a name"));
        assert!(read("{table: a.b, snapshot: 7}").is_err());
    }
}
