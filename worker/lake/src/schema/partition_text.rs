//! Partition values as people write them: in folders and in the summaries of snapshots.

use iceberg::spec::{Datum, Literal, PrimitiveLiteral, PrimitiveType, Transform, Type};

/// The value of a partition field as text: `2013-01` of a month, `null`.
///
/// The crate's own text counts periods from 1970, and there is none of some dates and times: it panics at times with a zone
/// before 1970, and at years that its calendar does not reach.
pub(crate) fn partition_text(transform: Transform, result: &Type, value: Option<&Literal>) -> String {
    let Some(Literal::Primitive(primitive)) = value else { return "null".to_owned() };
    match (transform, primitive) {
        (Transform::Year | Transform::Month | Transform::Hour, PrimitiveLiteral::Int(n)) => period(transform, *n),
        _ => moment(result, primitive).unwrap_or_else(|| transform.to_human_string(result, value)),
    }
}

// Counted from 1970, as people write it: `2013`, `2013-01`, `2013-01-31-23`.
fn period(transform: Transform, number: i32) -> String {
    match transform {
        Transform::Year => format!("{:04}", 1970 + i64::from(number)),
        Transform::Month => {
            format!("{:04}-{:02}", 1970 + i64::from(number.div_euclid(12)), number.rem_euclid(12) + 1)
        }
        _ => format!("{}-{:02}", Datum::date(number.div_euclid(24)), number.rem_euclid(24)),
    }
}

fn moment(ty: &Type, value: &PrimitiveLiteral) -> Option<String> {
    const DAYS: i32 = 95_000_000;
    const MICROS: i64 = DAYS as i64 * 86_400_000_000;
    match (ty.as_primitive_type()?, value) {
        (PrimitiveType::Date, PrimitiveLiteral::Int(days)) if !(-DAYS..DAYS).contains(days) => Some(days.to_string()),
        (PrimitiveType::Timestamp | PrimitiveType::Timestamptz, PrimitiveLiteral::Long(micros))
            if !(-MICROS..MICROS).contains(micros) =>
        {
            Some(micros.to_string())
        }
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(micros)) => {
            Some(format!("{} UTC", Datum::timestamp_micros(*micros).to_human_string()))
        }
        _ => None,
    }
}
