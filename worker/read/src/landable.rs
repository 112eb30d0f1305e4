//! Which Arrow type rows land as.
//!
//! Iceberg (format version 2) has fewer types than Arrow. Everything that leaves this crate has one of the types
//! [`landable`] answers with; what has no counterpart is refused with what to write instead.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, TimeUnit};

/// The type a column of type `data_type` lands as, without loss.
///
/// Unsigned and short integers become the next wider signed type (`UInt64` becomes `decimal(20,0)`, since `long`
/// does not hold it), views and dictionaries become plain arrays, zones become UTC. Moments are in microseconds, but for
/// those in nanoseconds: Iceberg does not hold them, and the landing says what becomes of them (`target.nanoseconds`).
///
/// # Errors
/// A sentence that says why the type has no counterpart and what to do.
pub fn landable(data_type: &DataType) -> Result<DataType, String> {
    Ok(match data_type {
        DataType::Boolean
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Utf8
        | DataType::Binary
        | DataType::FixedSizeBinary(_) => data_type.clone(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => landable_decimal(*precision, *scale)?,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(unit) | DataType::Time64(unit) => DataType::Time64(landable_unit(*unit)),
        DataType::Timestamp(unit, zone) => {
            DataType::Timestamp(landable_unit(*unit), zone.as_ref().map(|_| "UTC".into()))
        }
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => landable(values)?,
        DataType::RunEndEncoded(_, values) => landable(values.data_type())?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(landable_field(item)?),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(landable_field).collect::<Result<_, _>>()?),
        DataType::Map(entries, sorted) => landable_map(entries, *sorted)?,
        DataType::Null => return Err("has no type, only nulls: cast it to one".to_owned()),
        DataType::Duration(_) | DataType::Interval(_) => {
            return Err(
                "is a duration, which Iceberg has no type for: make it a number of seconds or microseconds".to_owned()
            );
        }
        DataType::Union(..) => return Err("is a union, which Iceberg has no type for".to_owned()),
    })
}

fn landable_unit(unit: TimeUnit) -> TimeUnit {
    if unit == TimeUnit::Nanosecond { unit } else { TimeUnit::Microsecond }
}

fn landable_decimal(precision: u8, scale: i8) -> Result<DataType, String> {
    // A negative scale means trailing zeros that are not stored; Iceberg has no such thing.
    let (precision, scale) =
        if scale < 0 { (precision.saturating_add(scale.unsigned_abs()), 0) } else { (precision, scale) };
    if precision > DECIMAL128_MAX_PRECISION {
        return Err(format!(
            "is a decimal of {precision} digits, and Iceberg holds at most 38: cast it to decimal(38, s)"
        ));
    }
    Ok(DataType::Decimal128(precision, scale))
}

fn landable_field(field: &FieldRef) -> Result<FieldRef, String> {
    let data_type = landable(field.data_type()).map_err(|why| format!("holds `{}`, which {why}", field.name()))?;
    Ok(Arc::new(Field::new(field.name(), data_type, true)))
}

fn landable_map(entries: &FieldRef, sorted: bool) -> Result<DataType, String> {
    let DataType::Struct(pair) = entries.data_type() else {
        return Err("is a map whose entries are no pairs".to_owned());
    };
    let pair = pair
        .iter()
        .enumerate()
        .map(|(i, field)| {
            landable_field(field).map(|f| if i == 0 { Arc::new(f.as_ref().clone().with_nullable(false)) } else { f })
        })
        .collect::<Result<_, _>>()?;
    Ok(DataType::Map(Arc::new(Field::new(entries.name(), DataType::Struct(pair), false)), sorted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_lands_as_one_iceberg_has() {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let table = [
            (DataType::UInt8, DataType::Int32),
            (DataType::UInt32, DataType::Int64),
            (DataType::UInt64, DataType::Decimal128(20, 0)),
            (DataType::Utf8View, DataType::Utf8),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View)), DataType::Utf8),
            (nanos.clone(), nanos),
            (DataType::Time32(TimeUnit::Second), DataType::Time64(TimeUnit::Microsecond)),
            (DataType::Time64(TimeUnit::Nanosecond), DataType::Time64(TimeUnit::Nanosecond)),
            (
                DataType::Timestamp(TimeUnit::Second, Some("Europe/Berlin".into())),
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (DataType::Decimal128(5, -2), DataType::Decimal128(7, 0)),
            (DataType::Decimal256(38, 4), DataType::Decimal128(38, 4)),
            (DataType::LargeList(item(DataType::UInt16)), DataType::List(item(DataType::Int32))),
            (DataType::Struct(vec![item(DataType::Time32(TimeUnit::Millisecond))].into()), {
                DataType::Struct(vec![item(DataType::Time64(TimeUnit::Microsecond))].into())
            }),
        ];
        for (given, expected) in table {
            assert_eq!(landable(&given).unwrap(), expected, "{given}");
            assert_eq!(landable(&expected).unwrap(), expected, "{given} lands twice differently");
        }
    }

    #[test]
    fn a_type_iceberg_lacks_is_refused_with_a_way_out() {
        assert!(landable(&DataType::Null).unwrap_err().contains("cast it"));
        assert!(landable(&DataType::Duration(TimeUnit::Second)).unwrap_err().contains("seconds"));
        assert!(landable(&DataType::Decimal256(60, 2)).unwrap_err().contains("60 digits"));
        let nested = DataType::List(Arc::new(Field::new("item", DataType::Null, true)));
        assert!(landable(&nested).unwrap_err().contains("holds `item`"));
    }
}
