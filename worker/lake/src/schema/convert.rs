//! Arrow schema to Iceberg schema and back.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};
use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type};
use moulin_core::TableName;

use crate::Error;

/// The schema of a table made for rows of this Arrow schema. Every column is optional: what one file or query
/// never leaves empty, the next one may.
///
/// # Errors
/// `SchemaMismatch`, naming the column, for a type that Iceberg (v2) does not have.
pub(crate) fn table_schema(table: &TableName, arrow: &ArrowSchema) -> Result<Schema, Error> {
    let mut seen = HashSet::new();
    if let Some(twice) = arrow.fields().iter().find(|f| !seen.insert(f.name())) {
        return Err(mismatch(
            table,
            format!("column `{}` is there twice; give one of them another name", twice.name()),
        ));
    }
    if arrow.fields().is_empty() {
        return Err(mismatch(table, "there is no column to land".to_owned()));
    }
    let mut ids = Ids { table, next: 0 };
    let fields = ids.fields(arrow.fields(), "")?;
    Schema::builder().with_fields(fields).build().map_err(Error::iceberg(table, "make its schema"))
}

fn mismatch(table: &TableName, message: String) -> Error {
    Error::SchemaMismatch { table: table.clone(), message }
}

/// Gives fields their ids: those of one level first, then what is nested in them, as the specification asks.
struct Ids<'a> {
    table: &'a TableName,
    next: i32,
}

impl Ids<'_> {
    fn id(&mut self) -> i32 {
        self.next += 1;
        self.next
    }

    fn fields(&mut self, fields: &Fields, above: &str) -> Result<Vec<NestedFieldRef>, Error> {
        let ids: Vec<i32> = fields.iter().map(|_| self.id()).collect();
        let pairs = ids.into_iter().zip(fields);
        pairs
            .map(|(id, field)| {
                let ty = self.ty(field.data_type(), &format!("{above}{}", field.name()))?;
                Ok(Arc::new(NestedField::optional(id, field.name(), ty)))
            })
            .collect()
    }

    fn ty(&mut self, ty: &DataType, path: &str) -> Result<Type, Error> {
        Ok(match ty {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                self.list(item, path)?
            }
            DataType::Map(entries, _) => self.map(entries, path)?,
            DataType::Struct(fields) => Type::Struct(StructType::new(self.fields(fields, &format!("{path}."))?)),
            DataType::Dictionary(_, value) => self.ty(value, path)?,
            other => Type::Primitive(primitive(other).map_err(|advice| {
                mismatch(
                    self.table,
                    format!("column `{path}` has the Arrow type {other}, which Iceberg does not have; {advice}"),
                )
            })?),
        })
    }

    fn list(&mut self, item: &FieldRef, path: &str) -> Result<Type, Error> {
        let id = self.id();
        let ty = self.ty(item.data_type(), &format!("{path}.element"))?;
        Ok(Type::List(ListType::new(Arc::new(NestedField::list_element(id, ty, false)))))
    }

    fn map(&mut self, entries: &FieldRef, path: &str) -> Result<Type, Error> {
        let DataType::Struct(pair) = entries.data_type() else {
            return Err(mismatch(self.table, format!("column `{path}` is a map without key and value")));
        };
        let [key, value] = pair.as_ref() else {
            return Err(mismatch(self.table, format!("column `{path}` is a map without key and value")));
        };
        let (key_id, value_id) = (self.id(), self.id());
        let key = self.ty(key.data_type(), &format!("{path}.key"))?;
        let value = self.ty(value.data_type(), &format!("{path}.value"))?;
        Ok(Type::Map(MapType::new(
            Arc::new(NestedField::map_key_element(key_id, key)),
            Arc::new(NestedField::map_value_element(value_id, value, false)),
        )))
    }
}

// The error is advice.
fn primitive(ty: &DataType) -> Result<PrimitiveType, &'static str> {
    Ok(match ty {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => PrimitiveType::Int,
        // Values of the unsigned type that do not fit are an error when they are met.
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => PrimitiveType::Long,
        DataType::Float16 | DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => match u32::try_from(*s) {
            Ok(scale) if *p <= 38 && scale <= u32::from(*p) => {
                PrimitiveType::Decimal { precision: u32::from(*p), scale }
            }
            _ => return Err("a decimal has at most 38 digits, and none of them before the unit is left out"),
        },
        DataType::Date32 | DataType::Date64 => PrimitiveType::Date,
        DataType::Time32(_) | DataType::Time64(_) => PrimitiveType::Time,
        DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PrimitiveType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => PrimitiveType::Binary,
        DataType::FixedSizeBinary(width) => PrimitiveType::Fixed(u64::try_from(*width).unwrap_or_default()),
        DataType::Null => return Err("it holds nothing but nulls: cast it to the type it should have"),
        DataType::Duration(_) | DataType::Interval(_) => return Err("cast it to a number or a text"),
        _ => return Err("cast it to another type"),
    })
}

/// A table's schema in the Arrow types that Moulin uses everywhere (`Binary`, zone `UTC`), with field ids in
/// the metadata under `PARQUET:field_id`.
pub(crate) fn arrow_schema(table: &TableName, schema: &Schema) -> Result<SchemaRef, Error> {
    let arrow = iceberg::arrow::schema_to_arrow_schema(schema).map_err(Error::iceberg(table, "read its schema"))?;
    let fields: Vec<Field> = arrow.fields().iter().map(|f| field_in_own_types(f)).collect();
    Ok(Arc::new(ArrowSchema::new(fields)))
}

fn field_in_own_types(field: &Field) -> Field {
    field.clone().with_data_type(in_own_types(field.data_type()))
}

fn in_own_types(ty: &DataType) -> DataType {
    let nested = |field: &FieldRef| Arc::new(field_in_own_types(field));
    match ty {
        DataType::LargeBinary => DataType::Binary,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        DataType::List(item) => DataType::List(nested(item)),
        DataType::Map(entries, sorted) => DataType::Map(nested(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested).collect()),
        other => other.clone(),
    }
}
