//! Columns that a partition or sort field names: of the table, or of structs in it, as `a.b`.

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use arrow::error::ArrowError;
use iceberg::spec::{NestedFieldRef, Schema, StructType, Type};

/// The column of this name, which holds single values; the error says in words what is wrong with it.
///
/// A column whose own name has a dot comes before a field of a struct.
pub(crate) fn source_column<'a>(schema: &'a Schema, name: &str) -> Result<&'a NestedFieldRef, String> {
    let mut fields = schema.as_struct();
    let mut within = String::new();
    let mut rest = name;
    loop {
        let (found, left) = first_part(fields, rest)
            .ok_or_else(|| format!("there is no column `{name}`; {}", there_are(fields, &within)))?;
        if left.is_empty() {
            let ty = found.field_type.as_ref();
            return match ty {
                Type::Struct(inner) => Err(format!(
                    "`{name}` is a struct; name one of its fields: {}",
                    names(inner, &format!("{name}.")).join(", ")
                )),
                _ if !ty.is_primitive() => Err(format!("`{name}` is {ty}, which has many values in one row")),
                _ => Ok(found),
            };
        }
        within = name[..name.len() - left.len() - 1].to_owned();
        match found.field_type.as_ref() {
            Type::Struct(inner) => (fields, rest) = (inner, left),
            Type::Primitive(ty) => {
                return Err(format!("there is no column `{name}`; `{within}` is {ty}, not a struct"));
            }
            ty => return Err(format!("`{name}` is inside of {ty}, which has many values in one row")),
        }
    }
}

// The field that a dotted name begins with, the whole name if there is one, and what is left of it.
fn first_part<'a, 'n>(fields: &'a StructType, name: &'n str) -> Option<(&'a NestedFieldRef, &'n str)> {
    let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
    let parts = ends.map(|end| (&name[..end], name.get(end + 1..).unwrap_or_default()));
    let mut found = parts.filter_map(|(part, left)| Some((fields.fields().iter().find(|f| f.name == part)?, left)));
    found.next_back()
}

fn there_are(fields: &StructType, within: &str) -> String {
    let names = names(fields, "").join(", ");
    if within.is_empty() { format!("there are {names}") } else { format!("in `{within}` there are {names}") }
}

fn names(fields: &StructType, before: &str) -> Vec<String> {
    fields.fields().iter().map(|field| format!("{before}{}", field.name)).collect()
}

/// Where a column is: its place among the table's columns, then among the fields of each struct on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnPath(Vec<usize>);

impl ColumnPath {
    /// The path of a field; `None`: there is none, or it is inside of a list or map.
    pub(crate) fn of(schema: &Schema, id: i32) -> Option<Self> {
        let mut path = Vec::new();
        descend(schema.as_struct(), id, &mut path).then_some(Self(path))
    }

    /// The type in this schema.
    pub(crate) fn data_type<'a>(&self, schema: &'a ArrowSchema) -> Option<&'a DataType> {
        let (first, below) = self.0.split_first()?;
        below.iter().try_fold(schema.fields().get(*first)?.data_type(), |ty, at| match ty {
            DataType::Struct(fields) => Some(fields.get(*at)?.data_type()),
            _ => None,
        })
    }

    /// The values in a batch; null wherever a struct on the way is.
    ///
    /// # Errors
    /// The batch has another shape than the table.
    pub(crate) fn values(&self, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        let lost = || ArrowError::SchemaError("a batch does not have the table's columns".to_owned());
        let (first, below) = self.0.split_first().ok_or_else(lost)?;
        let mut column = batch.columns().get(*first).ok_or_else(lost)?.clone();
        for at in below {
            let parent = column.as_struct_opt().ok_or_else(lost)?;
            let child = parent.columns().get(*at).ok_or_else(lost)?.clone();
            let nulls = NullBuffer::union(parent.nulls(), child.nulls());
            column = make_array(child.to_data().into_builder().nulls(nulls).build()?);
        }
        Ok(column)
    }
}

fn descend(fields: &StructType, id: i32, path: &mut Vec<usize>) -> bool {
    for (at, field) in fields.fields().iter().enumerate() {
        path.push(at);
        let inside = match field.field_type.as_ref() {
            Type::Struct(inner) => descend(inner, id, path),
            _ => false,
        };
        if field.id == id || inside {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StructArray};
    use arrow::datatypes::{Field, Fields};

    use super::*;
    use crate::schema::table_schema;

    fn schema() -> Schema {
        let inner = Fields::from(vec![Field::new("b", DataType::Int32, true)]);
        let list = Field::new("item", DataType::Struct(inner.clone()), true);
        let fields = vec![
            Field::new("n", DataType::Int64, true),
            Field::new("a", DataType::Struct(inner), true),
            Field::new("l", DataType::List(Arc::new(list)), true),
            Field::new("dot.ted", DataType::Int64, true),
        ];
        table_schema(&"x.y".parse().unwrap(), &ArrowSchema::new(fields)).unwrap()
    }

    #[test]
    fn a_dotted_name_is_a_field_of_a_struct_or_a_column_with_that_name() {
        let schema = schema();
        assert_eq!(schema.name_by_field_id(source_column(&schema, "a.b").unwrap().id), Some("a.b"));
        assert_eq!(source_column(&schema, "dot.ted").unwrap().name, "dot.ted");
        for (name, words) in [
            ("m", "there is no column `m`; there are n, a, l, dot.ted"),
            ("a.c", "there is no column `a.c`; in `a` there are b"),
            ("a", "`a` is a struct; name one of its fields: a.b"),
            ("n.b", "there is no column `n.b`; `n` is long, not a struct"),
            ("l", "`l` is list, which has many values in one row"),
            ("l.b", "`l.b` is inside of list, which has many values in one row"),
        ] {
            assert_eq!(source_column(&schema, name).unwrap_err(), words);
        }
    }

    #[test]
    fn what_is_in_a_null_struct_is_null() {
        let schema = schema();
        let path = ColumnPath::of(&schema, source_column(&schema, "a.b").unwrap().id).unwrap();
        assert_eq!(path, ColumnPath(vec![1, 0]));
        let in_list = schema.field_id_by_name("l.element.b").unwrap();
        assert_eq!(ColumnPath::of(&schema, in_list), None);
        let fields = Fields::from(vec![Field::new("b", DataType::Int32, true)]);
        let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
        let a = StructArray::new(fields, vec![values], Some(NullBuffer::from(vec![true, false, true])));
        let n: ArrayRef = Arc::new(Int32Array::from(vec![0, 0, 0]));
        let batch = RecordBatch::try_from_iter([("n", n), ("a", Arc::new(a) as ArrayRef)]).unwrap();
        assert_eq!(
            path.values(&batch).unwrap().as_ref(),
            &Int32Array::from(vec![Some(1), None, None]) as &dyn arrow::array::Array
        );
        assert_eq!(path.data_type(&batch.schema()), Some(&DataType::Int32));
    }
}
