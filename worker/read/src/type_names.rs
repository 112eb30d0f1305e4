//! Arrow types in Iceberg's words.

use arrow::datatypes::DataType;

use crate::landable::landable;

/// The name of `data_type` in Iceberg's words, for people: `long`, `decimal(12,2)`, `list<string>`.
///
/// A type Iceberg lacks is called what it lands as (`UInt32` is `long`); one that cannot land keeps Arrow's name.
#[must_use]
pub fn iceberg_type_name(data_type: &DataType) -> String {
    landable(data_type).map_or_else(|_| data_type.to_string(), |plain| name_of(&plain))
}

fn name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Date32 => "date".to_owned(),
        DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::FixedSizeBinary(length) => format!("fixed[{length}]"),
        DataType::List(item) => format!("list<{}>", name_of(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.name(), name_of(f.data_type()))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("map<{}, {}>", name_of(pair[0].data_type()), name_of(pair[1].data_type()))
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, TimeUnit};
    use moulin_core::PrimitiveType;

    use super::*;

    #[test]
    fn names_of_declared_types_are_the_words_they_are_declared_with() {
        let table = [
            (DataType::Boolean, "boolean"),
            (DataType::Int32, "int"),
            (DataType::Int64, "long"),
            (DataType::Float32, "float"),
            (DataType::Float64, "double"),
            (DataType::Decimal128(12, 2), "decimal(12,2)"),
            (DataType::Date32, "date"),
            (DataType::Time64(TimeUnit::Microsecond), "time"),
            (DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp"),
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "timestamptz"),
            (DataType::Utf8, "string"),
            (DataType::Binary, "binary"),
        ];
        for (data_type, name) in table {
            assert_eq!(iceberg_type_name(&data_type), name);
            assert_eq!(name.parse::<PrimitiveType>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn nested_and_foreign_types_are_named_as_they_land() {
        let list = DataType::LargeList(Arc::new(Field::new("item", DataType::Utf8View, true)));
        assert_eq!(iceberg_type_name(&list), "list<string>");
        let fields = vec![Field::new("a", DataType::UInt32, true), Field::new("b", list, true)];
        assert_eq!(iceberg_type_name(&DataType::Struct(fields.into())), "struct<a: long, b: list<string>>");
        assert_eq!(iceberg_type_name(&DataType::FixedSizeBinary(16)), "fixed[16]");
        assert_eq!(iceberg_type_name(&DataType::Duration(TimeUnit::Second)), "Duration(s)");
    }
}
