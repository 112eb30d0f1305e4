//! Partition fields of a landing, and the spec of a table.

use std::collections::HashSet;

use iceberg::spec::{PartitionSpec, Schema, Transform, UnboundPartitionSpec};
use moulin_core::{PartitionField, PartitionTransform, TableName};

use super::nested::source_column;
use crate::Error;

/// The spec of a new table, with the field names that Spark and PyIceberg give.
///
/// # Errors
/// `InvalidSpec` for a column that is not there or a transform that does not take its type.
pub(crate) fn partition_spec(schema: &Schema, fields: &[PartitionField]) -> Result<UnboundPartitionSpec, Error> {
    let mut builder = UnboundPartitionSpec::builder();
    let mut names = HashSet::new();
    for field in fields {
        let column = source_column(schema, &field.column)
            .map_err(|words| Error::invalid(format!("partition_by `{field}`: {words}")))?;
        let transform = transform(field.transform);
        if transform.result_type(&column.field_type).is_err() {
            return Err(Error::invalid(format!(
                "partition_by `{field}`: {transform} does not take {}",
                column.field_type
            )));
        }
        let name = field.field_name();
        if !names.insert(name.clone()) {
            return Err(Error::invalid(format!(
                "partition_by `{field}`: there are two partition fields named `{name}`"
            )));
        }
        let clash = field.transform != PartitionTransform::Identity && schema.field_by_name(&name).is_some();
        if clash {
            return Err(Error::invalid(format!(
                "partition_by `{field}`: its name `{name}` is also a column; rename that column"
            )));
        }
        builder = builder
            .add_partition_field(column.id, name, transform)
            .map_err(|e| Error::invalid(format!("partition_by `{field}`: {}", e.message())))?;
    }
    Ok(builder.build())
}

/// Checks the partition fields of a landing against a table that exists: none, or the same.
///
/// # Errors
/// `SchemaMismatch` with both lists.
pub(crate) fn check_spec(
    name: &TableName,
    schema: &Schema,
    spec: &PartitionSpec,
    fields: &[PartitionField],
) -> Result<(), Error> {
    if fields.is_empty() {
        return Ok(());
    }
    let (found, asked) = (describe_spec(schema, spec), fields.iter().map(ToString::to_string).collect::<Vec<_>>());
    // A void field makes no partitions, and the table's are not told either.
    let is_live = |field: &&PartitionField| field.transform != PartitionTransform::Void;
    if found == fields.iter().filter(is_live).map(ToString::to_string).collect::<Vec<_>>() {
        return Ok(());
    }
    let found =
        if found.is_empty() { "not partitioned".to_owned() } else { format!("partitioned by {}", found.join(", ")) };
    Err(Error::SchemaMismatch {
        table: name.clone(),
        message: format!(
            "the table is {found}, but the job says partition_by {}; leave partition_by out",
            asked.join(", ")
        ),
    })
}

/// A table's partition fields in the words of a job file.
pub(crate) fn describe_spec(schema: &Schema, spec: &PartitionSpec) -> Vec<String> {
    let column = |id| schema.name_by_field_id(id).unwrap_or("?").to_owned();
    let live = spec.fields().iter().filter(|f| f.transform != Transform::Void);
    live.map(|field| match own_transform(field.transform) {
        Some(transform) => PartitionField { column: column(field.source_id), transform }.to_string(),
        None => format!("{}({})", field.transform, column(field.source_id)),
    })
    .collect()
}

fn transform(transform: PartitionTransform) -> Transform {
    match transform {
        PartitionTransform::Identity => Transform::Identity,
        PartitionTransform::Bucket(n) => Transform::Bucket(n),
        PartitionTransform::Truncate(n) => Transform::Truncate(n),
        PartitionTransform::Year => Transform::Year,
        PartitionTransform::Month => Transform::Month,
        PartitionTransform::Day => Transform::Day,
        PartitionTransform::Hour => Transform::Hour,
        PartitionTransform::Void => Transform::Void,
    }
}

fn own_transform(transform: Transform) -> Option<PartitionTransform> {
    Some(match transform {
        Transform::Identity => PartitionTransform::Identity,
        Transform::Bucket(n) => PartitionTransform::Bucket(n),
        Transform::Truncate(n) => PartitionTransform::Truncate(n),
        Transform::Year => PartitionTransform::Year,
        Transform::Month => PartitionTransform::Month,
        Transform::Day => PartitionTransform::Day,
        Transform::Hour => PartitionTransform::Hour,
        Transform::Void | Transform::Unknown => return None,
    })
}
