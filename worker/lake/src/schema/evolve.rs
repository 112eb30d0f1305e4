//! Whether a table takes the rows of a job, and how its schema follows them where the contract lets it.

use std::sync::Arc;

use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type};
use moulin_core::{Contract, ContractMode, TableName};

use crate::Error;

/// The table's schema as it must be to take rows of the schema `incoming`; `None`: as it is.
///
/// Columns and nested fields are matched by name, and the order is free. Rows may lack optional fields. A type fits one
/// that Iceberg promotes it to; the other way round the table's type is widened, a field that only the rows have is
/// added, and one that only the table has and requires becomes optional, if `contract` evolves `types` and `columns`.
/// New fields take ids above `last_id`.
///
/// # Errors
/// `SchemaMismatch`, naming the first column that does not fit.
pub(crate) fn evolve(
    name: &TableName,
    table: &Schema,
    last_id: i32,
    incoming: &Schema,
    contract: &Contract,
) -> Result<Option<Schema>, Error> {
    let refused = |message| Error::SchemaMismatch { table: name.clone(), message };
    let mut evolution = Evolution {
        columns: contract.columns == ContractMode::Evolve,
        types: contract.types == ContractMode::Evolve,
        last_id,
    };
    let fields = evolution.fields(table.as_struct(), incoming.as_struct(), "").map_err(refused)?;
    changed(table, fields).map_err(|e| refused(format!("its schema cannot follow the rows: {}", e.message())))
}

/// A schema with the fields of `wanted`, which data files were written with: the ids they have in the files must mean
/// the same in the table. `None`: it has them.
///
/// # Errors
/// What is not possible, in words: the files must be written anew.
pub(crate) fn reconcile(
    now: &Schema,
    last_id: i32,
    wanted: &Schema,
    may_change: bool,
) -> Result<Option<Schema>, String> {
    if now.as_struct() == wanted.as_struct() {
        return Ok(None);
    }
    let fields = reconciled(now.as_struct(), wanted.as_struct(), last_id, may_change, "")?;
    changed(now, fields).map_err(|e| e.message().to_owned())
}

/// Whether two schemas differ in their id only.
pub(crate) fn same_fields(a: &Schema, b: &Schema) -> bool {
    let identifiers = |s: &Schema| s.identifier_field_ids().collect::<std::collections::BTreeSet<_>>();
    a.as_struct() == b.as_struct() && identifiers(a) == identifiers(b)
}

fn changed(before: &Schema, fields: Vec<NestedFieldRef>) -> iceberg::Result<Option<Schema>> {
    if before.as_struct().fields() == fields {
        return Ok(None);
    }
    let builder = Schema::builder().with_fields(fields).with_schema_id(before.schema_id());
    builder.with_identifier_field_ids(before.identifier_field_ids()).build().map(Some)
}

struct Evolution {
    columns: bool,
    types: bool,
    last_id: i32,
}

impl Evolution {
    // The error is the whole message.
    fn fields(&mut self, table: &StructType, rows: &StructType, above: &str) -> Result<Vec<NestedFieldRef>, String> {
        let mut fields = Vec::with_capacity(table.fields().len());
        for field in table.fields() {
            let path = format!("{above}{}", field.name);
            fields.push(match rows.fields().iter().find(|other| other.name == field.name) {
                Some(incoming) => {
                    let ty = self.ty(&field.field_type, &incoming.field_type, &path)?;
                    with_type(field, ty)
                }
                None if !field.required => field.clone(),
                None if self.columns => Arc::new(NestedField { required: false, ..field.as_ref().clone() }),
                None => {
                    let ty = &field.field_type;
                    return Err(format!(
                        "the table's column `{path}` ({ty}) is required, and the job does not make it"
                    ));
                }
            });
        }
        let known = |name: &str| table.fields().iter().any(|other| other.name == name);
        let new: Vec<_> = rows.fields().iter().filter(|field| !known(&field.name)).collect();
        if let Some(first) = new.first().filter(|_| !self.columns) {
            return Err(unknown(&first.name, above, &first.field_type, table));
        }
        // Those of one level first, then what is nested in them.
        let ids: Vec<i32> = new.iter().map(|_| self.id()).collect();
        for (id, field) in ids.into_iter().zip(new) {
            let ty = self.numbered(&field.field_type);
            fields.push(Arc::new(NestedField::optional(id, &field.name, ty)));
        }
        Ok(fields)
    }

    fn ty(&mut self, table: &Type, rows: &Type, path: &str) -> Result<Type, String> {
        Ok(match (table, rows) {
            (Type::Primitive(there), Type::Primitive(here)) if promotes(here, there) => table.clone(),
            (Type::Primitive(there), Type::Primitive(here)) if self.types && widens(there, here) => rows.clone(),
            (Type::List(there), Type::List(here)) => {
                let (there, here) = (&there.element_field, &here.element_field);
                let ty = self.ty(&there.field_type, &here.field_type, &format!("{path}.element"))?;
                Type::List(ListType::new(with_type(there, ty)))
            }
            (Type::Map(there), Type::Map(here)) => {
                let (key, here_key) = (&there.key_field.field_type, &here.key_field.field_type);
                // Keys cannot change: equal ones would not be any more.
                let frozen = &mut Self { columns: false, types: false, last_id: self.last_id };
                frozen.ty(key, here_key, &format!("{path}.key"))?;
                let (value, here_value) = (&there.value_field, &here.value_field);
                let ty = self.ty(&value.field_type, &here_value.field_type, &format!("{path}.value"))?;
                Type::Map(MapType::new(there.key_field.clone(), with_type(value, ty)))
            }
            (Type::Struct(there), Type::Struct(here)) => {
                Type::Struct(StructType::new(self.fields(there, here, &format!("{path}."))?))
            }
            _ => return Err(format!("column `{path}` is {table} in the table, but {rows} in the job")),
        })
    }

    fn id(&mut self) -> i32 {
        self.last_id += 1;
        self.last_id
    }

    /// A type of the rows with ids of the table.
    fn numbered(&mut self, ty: &Type) -> Type {
        match ty {
            Type::Primitive(_) => ty.clone(),
            Type::List(list) => {
                let id = self.id();
                let element = self.numbered(&list.element_field.field_type);
                Type::List(ListType::new(Arc::new(NestedField::list_element(id, element, false))))
            }
            Type::Map(map) => {
                let (key_id, value_id) = (self.id(), self.id());
                let (key, value) =
                    (self.numbered(&map.key_field.field_type), self.numbered(&map.value_field.field_type));
                Type::Map(MapType::new(
                    Arc::new(NestedField::map_key_element(key_id, key)),
                    Arc::new(NestedField::map_value_element(value_id, value, false)),
                ))
            }
            Type::Struct(fields) => {
                let ids: Vec<i32> = fields.fields().iter().map(|_| self.id()).collect();
                let fields = ids.into_iter().zip(fields.fields()).map(|(id, field)| {
                    let ty = self.numbered(&field.field_type);
                    Arc::new(NestedField::optional(id, &field.name, ty))
                });
                Type::Struct(StructType::new(fields.collect()))
            }
        }
    }
}

fn with_type(field: &NestedFieldRef, ty: Type) -> NestedFieldRef {
    if *field.field_type == ty {
        return field.clone();
    }
    Arc::new(NestedField { field_type: Box::new(ty), ..field.as_ref().clone() })
}

fn unknown(name: &str, above: &str, ty: &Type, table: &StructType) -> String {
    let columns: Vec<&str> = table.fields().iter().map(|c| c.name.as_str()).collect();
    let same = columns.iter().find(|c| c.eq_ignore_ascii_case(name) || c.replace(' ', "_") == name);
    let path = format!("{above}{name}");
    match same {
        Some(same) => format!("column `{path}` ({ty}) is not in the table, which has `{same}`; names must be equal"),
        None => format!("column `{path}` ({ty}) is not in the table; it has {}", columns.join(", ")),
    }
}

/// The promotions of the Iceberg specification, "Schema Evolution": values of `from` are values of `to`.
fn promotes(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    match (from, to) {
        // A uuid is sixteen bytes for whoever writes it.
        (PrimitiveType::Fixed(16), PrimitiveType::Uuid) => true,
        // Arrow has one type for both resolutions of a table's timestamps; the values are converted exactly.
        (PrimitiveType::Timestamp, PrimitiveType::TimestampNs)
        | (PrimitiveType::Timestamptz, PrimitiveType::TimestamptzNs) => true,
        _ => from == to || widens(from, to),
    }
}

/// The promotions that a column of format version 2 can undergo.
fn widens(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    match (from, to) {
        (PrimitiveType::Int, PrimitiveType::Long) | (PrimitiveType::Float, PrimitiveType::Double) => true,
        (PrimitiveType::Decimal { precision: a, scale: s }, PrimitiveType::Decimal { precision: b, scale: t }) => {
            s == t && a < b
        }
        _ => false,
    }
}

fn reconciled(
    now: &StructType,
    wanted: &StructType,
    last_id: i32,
    may_change: bool,
    above: &str,
) -> Result<Vec<NestedFieldRef>, String> {
    let mut fields = Vec::with_capacity(now.fields().len());
    for field in now.fields() {
        let Some(other) = wanted.fields().iter().find(|other| other.id == field.id) else {
            if field.required {
                return Err(format!("column `{above}{}` is there and required", field.name));
            }
            fields.push(field.clone());
            continue;
        };
        if other.name != field.name {
            return Err(format!("column `{above}{}` is `{above}{}`", other.name, field.name));
        }
        let path = format!("{above}{}", field.name);
        let ty = reconciled_type(&field.field_type, &other.field_type, last_id, may_change, &path)?;
        let stays_required = field.required && other.required;
        if field.required && !stays_required && !may_change {
            return Err(format!("column `{path}` is required"));
        }
        let field = with_type(field, ty);
        fields.push(if field.required == stays_required {
            field
        } else {
            Arc::new(NestedField { required: stays_required, ..field.as_ref().clone() })
        });
    }
    for other in wanted.fields().iter().filter(|other| now.fields().iter().all(|field| field.id != other.id)) {
        let is_new = may_change && other.id > last_id && now.fields().iter().all(|field| field.name != other.name);
        if !is_new {
            return Err(format!("column `{above}{}` is gone, or another one took its id", other.name));
        }
        fields.push(other.clone());
    }
    Ok(fields)
}

fn reconciled_type(now: &Type, wanted: &Type, last_id: i32, may_change: bool, path: &str) -> Result<Type, String> {
    Ok(match (now, wanted) {
        (Type::Primitive(there), Type::Primitive(here)) if promotes(here, there) => now.clone(),
        (Type::Primitive(there), Type::Primitive(here)) if may_change && widens(there, here) => wanted.clone(),
        (Type::List(there), Type::List(here)) => {
            let (there, here) = (&there.element_field, &here.element_field);
            let ty = reconciled_type(&there.field_type, &here.field_type, last_id, may_change, path)?;
            Type::List(ListType::new(with_type(there, ty)))
        }
        (Type::Map(there), Type::Map(here)) => {
            let (value, other) = (&there.value_field, &here.value_field);
            let ty = reconciled_type(&value.field_type, &other.field_type, last_id, may_change, path)?;
            Type::Map(MapType::new(there.key_field.clone(), with_type(value, ty)))
        }
        (Type::Struct(there), Type::Struct(here)) => {
            Type::Struct(StructType::new(reconciled(there, here, last_id, may_change, &format!("{path}."))?))
        }
        _ => return Err(format!("column `{path}` is {now}, not {wanted}")),
    })
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

    fn compare(name: &TableName, table: &Schema, incoming: &Schema) -> Result<(), Error> {
        let frozen =
            Contract { tables: ContractMode::Freeze, columns: ContractMode::Freeze, types: ContractMode::Freeze };
        evolve(name, table, table.highest_field_id(), incoming, &frozen).map(|changed| assert!(changed.is_none()))
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

    #[test]
    fn a_table_follows_the_rows_with_ids_of_its_own() {
        let item =
            |fields: Vec<Field>| DataType::List(Arc::new(Field::new("item", DataType::Struct(fields.into()), true)));
        let x = Field::new("x", DataType::Int32, true);
        let y = Field::new("y", DataType::Utf8, true);
        let before = schema(&[("a", DataType::Int32), ("p", item(vec![x.clone()]))]);
        assert_eq!(before.highest_field_id(), 4);
        let rows = schema(&[("new", DataType::Utf8), ("p", item(vec![y, x])), ("a", DataType::Int64)]);
        let after = evolve(&table(), &before, 7, &rows, &Contract::default()).unwrap().unwrap();
        let id = |name: &str| after.field_id_by_name(name);
        assert_eq!(
            [id("a"), id("p"), id("p.element.x"), id("p.element.y"), id("new")],
            [Some(1), Some(2), Some(4), Some(8), Some(9)]
        );
        assert_eq!(after.field_by_name("a").unwrap().field_type.to_string(), "long");
        // The same rows again change nothing.
        assert!(evolve(&table(), &after, 9, &rows, &Contract::default()).unwrap().is_none());
    }

    #[test]
    fn a_required_column_that_the_rows_lack_becomes_optional() {
        let required = Schema::builder()
            .with_fields([
                Arc::new(NestedField::required(1, "a", Type::Primitive(PrimitiveType::Int))),
                Arc::new(NestedField::required(2, "b", Type::Primitive(PrimitiveType::Int))),
            ])
            .build()
            .unwrap();
        let rows = schema(&[("a", DataType::Int32)]);
        let after = evolve(&table(), &required, 2, &rows, &Contract::default()).unwrap().unwrap();
        assert!(after.field_by_id(1).unwrap().required && !after.field_by_id(2).unwrap().required);
        let error = compare(&table(), &required, &rows).unwrap_err().to_string();
        assert_eq!(error, "bronze.t: the table's column `b` (int) is required, and the job does not make it");
    }

    #[test]
    fn what_two_jobs_add_at_once_is_reconciled_by_id() {
        let before = schema(&[("a", DataType::Int32)]);
        let with = |name: &str, ty| {
            let rows = schema(&[("a", DataType::Int32), (name, ty)]);
            evolve(&table(), &before, 1, &rows, &Contract::default()).unwrap().unwrap()
        };
        let (x, y) = (with("x", DataType::Utf8), with("y", DataType::Utf8));
        // Alike: one column. Not alike: both took the id 2, and the later one's files cannot be used.
        assert_eq!(reconcile(&x, 2, &x, true).unwrap(), None);
        assert_eq!(reconcile(&before, 1, &x, true).unwrap().unwrap().as_struct(), x.as_struct());
        assert_eq!(reconcile(&x, 2, &y, true).unwrap_err(), "column `y` is `x`");
        // Files without the column that the table has by now are good.
        assert_eq!(reconcile(&x, 2, &before, false).unwrap(), None);
        assert_eq!(reconcile(&before, 2, &x, true).unwrap_err(), "column `x` is gone, or another one took its id");
        // A table that was widened meanwhile reads narrower files; the other way round the table follows.
        let wide = schema(&[("a", DataType::Int64)]);
        assert_eq!(reconcile(&wide, 1, &before, false).unwrap(), None);
        assert_eq!(reconcile(&before, 1, &wide, true).unwrap().unwrap().as_struct(), wide.as_struct());
        assert_eq!(reconcile(&before, 1, &wide, false).unwrap_err(), "column `a` is int, not long");
    }
}
