//! Whether a table takes the rows of a job.

use iceberg::spec::{PrimitiveType, Schema, StructType, Type};
use moulin_core::TableName;

use crate::Error;

/// Checks that `incoming` fits into `table`'s schema: the same names, each with the same type or one that
/// Iceberg promotes to the table's; the order is free, and an optional column may be left out.
///
/// # Errors
/// `SchemaMismatch`, naming the first column that does not fit.
pub(crate) fn compare(name: &TableName, table: &Schema, incoming: &Schema) -> Result<(), Error> {
    let refused = |message| Err(Error::SchemaMismatch { table: name.clone(), message });
    for field in incoming.as_struct().fields() {
        let Some(column) = table.as_struct().fields().iter().find(|c| c.name == field.name) else {
            return refused(unknown_column(&field.name, &field.field_type, table));
        };
        if let Err(at) = fits(&field.field_type, &column.field_type, &field.name) {
            return refused(at);
        }
    }
    for column in table.as_struct().fields().iter().filter(|c| c.required) {
        if !incoming.as_struct().fields().iter().any(|f| f.name == column.name) {
            return refused(format!(
                "the table's column `{}` ({}) is required, and the job does not make it",
                column.name, column.field_type
            ));
        }
    }
    Ok(())
}

fn unknown_column(name: &str, ty: &Type, table: &Schema) -> String {
    let columns: Vec<&str> = table.as_struct().fields().iter().map(|c| c.name.as_str()).collect();
    let same = columns.iter().find(|c| c.eq_ignore_ascii_case(name) || c.replace(' ', "_") == name);
    match same {
        Some(same) => format!("column `{name}` ({ty}) is not in the table, which has `{same}`; names must be equal"),
        None => format!("column `{name}` ({ty}) is not in the table; it has {}", columns.join(", ")),
    }
}

// The error is the whole message.
fn fits(from: &Type, to: &Type, path: &str) -> Result<(), String> {
    match (from, to) {
        (Type::Primitive(from), Type::Primitive(to)) if promotes(from, to) => Ok(()),
        (Type::List(from), Type::List(to)) => {
            fits(&from.element_field.field_type, &to.element_field.field_type, &format!("{path}.element"))
        }
        (Type::Map(from), Type::Map(to)) => {
            fits(&from.key_field.field_type, &to.key_field.field_type, &format!("{path}.key"))?;
            fits(&from.value_field.field_type, &to.value_field.field_type, &format!("{path}.value"))
        }
        (Type::Struct(from), Type::Struct(to)) => structs_fit(from, to, path),
        _ => Err(format!("column `{path}` is {to} in the table, but {from} in the job")),
    }
}

fn structs_fit(from: &StructType, to: &StructType, path: &str) -> Result<(), String> {
    let names = |s: &StructType| s.fields().iter().map(|f| f.name.clone()).collect::<Vec<_>>();
    if names(from) != names(to) {
        return Err(format!(
            "column `{path}` has the fields {} in the table, but {} in the job",
            names(to).join(", "),
            names(from).join(", ")
        ));
    }
    let mut pairs = from.fields().iter().zip(to.fields());
    pairs.try_for_each(|(from, to)| fits(&from.field_type, &to.field_type, &format!("{path}.{}", from.name)))
}

/// The promotions of the Iceberg specification, "Schema Evolution".
fn promotes(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    match (from, to) {
        (PrimitiveType::Int, PrimitiveType::Long) | (PrimitiveType::Float, PrimitiveType::Double) => true,
        // A uuid is sixteen bytes for whoever writes it.
        (PrimitiveType::Fixed(16), PrimitiveType::Uuid) => true,
        (PrimitiveType::Decimal { precision: a, scale: s }, PrimitiveType::Decimal { precision: b, scale: t }) => {
            s == t && a <= b
        }
        // Arrow has one type for both resolutions of a table's timestamps; the values are converted exactly.
        (PrimitiveType::Timestamp, PrimitiveType::TimestampNs)
        | (PrimitiveType::Timestamptz, PrimitiveType::TimestamptzNs) => true,
        _ => from == to,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};

    use super::*;
    use crate::schema::table_schema;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let fields: Vec<Field> = columns.iter().map(|(name, ty)| Field::new(*name, ty.clone(), true)).collect();
        table_schema(&table(), &ArrowSchema::new(fields)).unwrap()
    }

    fn table() -> TableName {
        "bronze.t".parse().unwrap()
    }

    fn refused(table_columns: &[(&str, DataType)], incoming: &[(&str, DataType)]) -> String {
        compare(&table(), &schema(table_columns), &schema(incoming)).unwrap_err().to_string()
    }

    #[test]
    fn order_is_free_optional_columns_may_be_missing_and_types_are_promoted() {
        let to = [
            ("a", DataType::Int64),
            ("b", DataType::Decimal128(20, 2)),
            ("c", DataType::Utf8),
            ("d", DataType::Float64),
        ];
        let from = [("d", DataType::Float32), ("b", DataType::Decimal128(10, 2)), ("a", DataType::Int32)];
        compare(&table(), &schema(&to), &schema(&from)).unwrap();
    }

    #[test]
    fn an_unknown_column_is_named_with_its_near_namesake() {
        let columns = [("Carrier", DataType::Utf8), ("year", DataType::Int64)];
        let error = refused(&columns, &[("carrier", DataType::Utf8)]);
        assert_eq!(
            error,
            "bronze.t: column `carrier` (string) is not in the table, which has `Carrier`; names must be equal"
        );
        let error = refused(&columns, &[("tail", DataType::Int32)]);
        assert_eq!(error, "bronze.t: column `tail` (int) is not in the table; it has Carrier, year");
    }

    #[test]
    fn a_narrower_type_in_the_table_is_refused() {
        let error = refused(&[("a", DataType::Int32)], &[("a", DataType::Int64)]);
        assert_eq!(error, "bronze.t: column `a` is int in the table, but long in the job");
        assert!(refused(&[("a", DataType::Decimal128(9, 2))], &[("a", DataType::Decimal128(12, 2))]).contains("`a`"));
        assert!(refused(&[("a", DataType::Decimal128(9, 2))], &[("a", DataType::Decimal128(9, 3))]).contains("`a`"));
        assert!(refused(&[("a", DataType::Utf8)], &[("a", DataType::Binary)]).contains("`a`"));
    }

    #[test]
    fn a_nested_field_is_named_by_its_path() {
        let nested = |ty| DataType::Struct(Fields::from(vec![Field::new("x", ty, true)]));
        let list = |ty| DataType::List(Arc::new(Field::new("item", nested(ty), true)));
        let error = refused(&[("p", list(DataType::Int32))], &[("p", list(DataType::Utf8))]);
        assert_eq!(error, "bronze.t: column `p.element.x` is int in the table, but string in the job");
    }
}
