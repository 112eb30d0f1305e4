//! What a job lands, in Iceberg's words: Arrow types to a table's schema, partition fields to a spec, and
//! whether an existing table takes it.

mod align;
mod convert;
mod evolve;
mod nested;
mod partition;
mod partition_text;
mod sort;
mod way;

pub(crate) use align::Alignment;
pub(crate) use convert::{arrow_schema, table_schema};
pub(crate) use evolve::{evolve, reconcile, same_fields};
pub(crate) use nested::ColumnPath;
pub(crate) use partition::{check_spec, describe_spec, partition_spec};
pub(crate) use partition_text::partition_text;
pub(crate) use sort::{check_sort, sort_order};
