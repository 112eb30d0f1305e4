//! Where rows go: an Iceberg table.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SortField;

/// An Iceberg table in the worker's catalog, made when it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Landing {
    /// `namespace.table`.
    pub table: TableName,
    /// Partition fields of a table that this job makes; must be empty or equal for one that exists.
    #[serde(default)]
    pub partition_by: Vec<PartitionField>,
    /// Table properties set when this job makes the table.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// What becomes of the rows of the generation before, when this one is a redo.
    #[serde(default)]
    pub on_rerun: OnRerun,
    /// Sort order of a table that this job makes; must be empty or equal for one that exists.
    #[serde(default)]
    pub sort_by: Vec<SortField>,
    /// What to do with digits below the microsecond.
    #[serde(default)]
    pub nanoseconds: Nanoseconds,
    /// What to do with a file that the table has been loaded with already.
    #[serde(default)]
    pub on_loaded_file: OnLoadedFile,
}

/// What becomes of the rows of the generation before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRerun {
    /// They go in the snapshot that brings the new ones.
    #[default]
    Replace,
    /// They stay, and the new generation takes them for its own.
    Skip,
    /// They stay, and the new ones come to them.
    Append,
}

impl OnRerun {
    /// `replace`, `skip` or `append`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Skip => "skip",
            Self::Append => "append",
        }
    }
}

/// What to do with a timestamp or time of day that is not whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nanoseconds {
    /// The job fails and names the column.
    #[default]
    Refuse,
    /// It is rounded down, towards the earlier moment.
    Floor,
}

impl Landing {
    /// A table with everything else by default.
    #[must_use]
    pub fn new(table: TableName) -> Self {
        Self {
            table,
            partition_by: Vec::new(),
            properties: BTreeMap::new(),
            on_rerun: OnRerun::default(),
            sort_by: Vec::new(),
            nanoseconds: Nanoseconds::default(),
            on_loaded_file: OnLoadedFile::default(),
        }
    }
}

/// What to do with a file that the table has been loaded with already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLoadedFile {
    /// It is left out.
    #[default]
    Skip,
    /// It is loaded once more.
    Reload,
    /// The job fails before it reads a row.
    Fail,
}

/// `namespace.table`, or with a nested namespace `a.b.table`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// At least one part.
    pub namespace: Vec<String>,
    /// The table.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace.join("."), self.name)
    }
}

impl FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        let name = parts.pop().unwrap_or_default();
        if parts.is_empty() || name.is_empty() || parts.iter().any(String::is_empty) {
            return Err(format!("`{text}` is not a table; write namespace.table, e.g. bronze.flights"));
        }
        if text.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
            return Err(format!("`{}` holds a slash or a control character", text.escape_debug()));
        }
        Ok(Self { namespace: parts, name })
    }
}

/// One field of a partition spec.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionField {
    /// The source column.
    pub column: String,
    /// What is made of it.
    pub transform: PartitionTransform,
}

/// The partition transforms of the Iceberg specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartitionTransform {
    /// The value itself.
    Identity,
    /// Hash modulo n.
    Bucket(u32),
    /// Prefix of a text, or floor to a multiple of a number.
    Truncate(u32),
    /// Years since 1970.
    Year,
    /// Months since 1970-01.
    Month,
    /// Days since 1970-01-01.
    Day,
    /// Hours since 1970-01-01T00.
    Hour,
    /// Nothing: a field that was dropped from the spec of a table of format version 1.
    Void,
}

impl PartitionField {
    /// The field's name in the partition spec, as Spark and PyIceberg name it: `time_hour_month`.
    #[must_use]
    pub fn field_name(&self) -> String {
        let column = &self.column;
        match self.transform {
            PartitionTransform::Identity => column.clone(),
            PartitionTransform::Bucket(_) => format!("{column}_bucket"),
            PartitionTransform::Truncate(_) => format!("{column}_trunc"),
            PartitionTransform::Year => format!("{column}_year"),
            PartitionTransform::Month => format!("{column}_month"),
            PartitionTransform::Day => format!("{column}_day"),
            PartitionTransform::Hour => format!("{column}_hour"),
            PartitionTransform::Void => format!("{column}_null"),
        }
    }
}

impl fmt::Display for PartitionField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = &self.column;
        match self.transform {
            PartitionTransform::Identity => f.write_str(column),
            PartitionTransform::Bucket(n) => write!(f, "bucket({n}, {column})"),
            PartitionTransform::Truncate(n) => write!(f, "truncate({n}, {column})"),
            PartitionTransform::Year => write!(f, "year({column})"),
            PartitionTransform::Month => write!(f, "month({column})"),
            PartitionTransform::Day => write!(f, "day({column})"),
            PartitionTransform::Hour => write!(f, "hour({column})"),
            PartitionTransform::Void => write!(f, "void({column})"),
        }
    }
}

impl FromStr for PartitionField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refused = || {
            format!(
                "`{text}` is not a partition field; write a column, or year(c), month(c), day(c), hour(c), bucket(n, c), truncate(n, c), void(c)"
            )
        };
        let Some((function, rest)) = text.split_once('(') else {
            return if text.is_empty() || text.contains([')', ',']) {
                Err(refused())
            } else {
                Ok(Self { column: text.to_owned(), transform: PartitionTransform::Identity })
            };
        };
        let inner = rest.strip_suffix(')').ok_or_else(refused)?;
        let (width, column) = match inner.split_once(',') {
            Some((width, column)) => (Some(width.trim().parse::<u32>().map_err(|_| refused())?), column.trim()),
            None => (None, inner.trim()),
        };
        if column.is_empty() {
            return Err(refused());
        }
        // Iceberg's Java library, and what is built on it, reads no wider ones.
        if width.is_some_and(|width| !(1..=i32::MAX.unsigned_abs()).contains(&width)) {
            return Err(format!("`{text}` is not a partition field: its number must be 1 to {}", i32::MAX));
        }
        let transform = match (function.trim().to_ascii_lowercase().as_str(), width) {
            ("identity", None) => PartitionTransform::Identity,
            ("year" | "years", None) => PartitionTransform::Year,
            ("month" | "months", None) => PartitionTransform::Month,
            ("day" | "days", None) => PartitionTransform::Day,
            ("hour" | "hours", None) => PartitionTransform::Hour,
            ("void", None) => PartitionTransform::Void,
            ("bucket", Some(n)) => PartitionTransform::Bucket(n),
            ("truncate", Some(n)) => PartitionTransform::Truncate(n),
            _ => return Err(refused()),
        };
        Ok(Self { column: column.to_owned(), transform })
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(TableName, PartitionField);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_fields_come_back_from_their_text() {
        for text in [
            "origin",
            "month(time_hour)",
            "bucket(16, id)",
            "truncate(4, name)",
            "year(d)",
            "day(d)",
            "hour(t)",
            "void(d)",
        ] {
            assert_eq!(text.parse::<PartitionField>().unwrap().to_string(), text);
        }
        assert_eq!("months(d)".parse::<PartitionField>().unwrap().to_string(), "month(d)");
    }

    #[test]
    fn wrong_partition_fields_are_refused() {
        for text in
            ["", "month()", "bucket(id)", "bucket(0, id)", "truncate(2147483648, id)", "week(d)", "month(d", "a,b"]
        {
            assert!(text.parse::<PartitionField>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_table_needs_a_namespace() {
        assert_eq!("a.b.c".parse::<TableName>().unwrap().namespace, ["a", "b"]);
        for text in ["flights", ".flights", "bronze.", "a..b", "a/b.c"] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }
}
