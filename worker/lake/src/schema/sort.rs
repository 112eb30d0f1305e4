//! Sort fields of a landing, and the sort order of a table.

use iceberg::spec::{NullOrder, Schema, SortDirection, SortField as IcebergField, SortOrder, Transform};
use moulin_core::{SortField, TableName};

use super::nested::source_column;
use crate::Error;

/// The sort order of a new table.
///
/// # Errors
/// `InvalidSpec` for a column that is not there or cannot be sorted.
pub(crate) fn sort_order(schema: &Schema, fields: &[SortField]) -> Result<SortOrder, Error> {
    if fields.is_empty() {
        return Ok(SortOrder::unsorted_order());
    }
    let mut builder = SortOrder::builder();
    builder.with_order_id(1);
    for field in fields {
        let column = source_column(schema, &field.column)
            .map_err(|words| Error::invalid(format!("sort_by `{field}`: {words}")))?;
        builder.with_sort_field(IcebergField {
            source_id: column.id,
            transform: Transform::Identity,
            direction: if field.descending { SortDirection::Descending } else { SortDirection::Ascending },
            null_order: if field.nulls_first { NullOrder::First } else { NullOrder::Last },
        });
    }
    builder.build(schema).map_err(|e| Error::invalid(format!("sort_by: {}", e.message())))
}

/// Checks the sort fields of a landing against a table that exists: none, or the same.
///
/// # Errors
/// `SchemaMismatch` with both lists.
pub(crate) fn check_sort(
    name: &TableName,
    schema: &Schema,
    order: &SortOrder,
    fields: &[SortField],
) -> Result<(), Error> {
    if fields.is_empty() {
        return Ok(());
    }
    let words = |field: &IcebergField| {
        let column = schema.name_by_field_id(field.source_id).unwrap_or("?").to_owned();
        let descending = field.direction == SortDirection::Descending;
        let text = SortField { column, descending, nulls_first: field.null_order == NullOrder::First }.to_string();
        if field.transform == Transform::Identity { text } else { format!("{} of {text}", field.transform) }
    };
    let found: Vec<String> = order.fields.iter().map(words).collect();
    let asked: Vec<String> = fields.iter().map(ToString::to_string).collect();
    if found == asked {
        return Ok(());
    }
    let found = if found.is_empty() { "not sorted".to_owned() } else { format!("sorted by {}", found.join(", ")) };
    Err(Error::SchemaMismatch {
        table: name.clone(),
        message: format!("the table is {found}, but the job says sort_by {}; leave sort_by out", asked.join(", ")),
    })
}
