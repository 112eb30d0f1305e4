//! Conditions that let a scan leave files, row groups and rows out.

use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, PrimitiveType, Schema, Type};

/// A condition on one column of the table. A null never meets a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Place of the column in the table's schema.
    pub column: usize,
    /// What its value must be.
    pub test: FilterTest,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterTest {
    /// `column <relation> value`
    Compare(Relation, FilterValue),
    /// Null.
    IsNull,
    /// Anything but null.
    IsNotNull,
}

/// How a value compares with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterValue {
    /// `true`, `false`
    Boolean(bool),
    /// A whole number.
    Long(i64),
    /// A text.
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01, UTC for columns with a zone.
    Timestamp(i64),
}

/// The filters that can be said of the columns of `snapshot`, as one predicate in its names. `columns` are those that
/// the filters count by; columns are the same where their field ids are.
pub(super) fn predicate(filters: &[Filter], columns: &Schema, snapshot: &Schema) -> Option<Predicate> {
    let parts = filters.iter().filter_map(|filter| {
        let field = columns.as_struct().fields().get(filter.column)?;
        let there = snapshot.as_struct().fields().iter().find(|other| other.id == field.id)?;
        one(&there.name, &there.field_type, &filter.test)
    });
    parts.reduce(Predicate::and)
}

fn one(name: &str, ty: &Type, test: &FilterTest) -> Option<Predicate> {
    // In a path a dot stands for a field of a struct.
    if name.contains('.') {
        return None;
    }
    let column = Reference::new(name);
    let Type::Primitive(ty) = ty else { return None };
    Some(match test {
        FilterTest::IsNull => column.is_null(),
        FilterTest::IsNotNull => column.is_not_null(),
        FilterTest::Compare(relation, value) => {
            let value = datum(ty, value)?;
            match relation {
                Relation::Equal => column.equal_to(value),
                Relation::Less => column.less_than(value),
                Relation::LessOrEqual => column.less_than_or_equal_to(value),
                Relation::Greater => column.greater_than(value),
                Relation::GreaterOrEqual => column.greater_than_or_equal_to(value),
            }
        }
    })
}

// Not for floating point: bounds in manifests and footers leave NaN out, which SQL orders above every number.
fn datum(ty: &PrimitiveType, value: &FilterValue) -> Option<Datum> {
    Some(match (ty, value) {
        (PrimitiveType::Boolean, FilterValue::Boolean(value)) => Datum::bool(*value),
        (PrimitiveType::Int, FilterValue::Long(value)) => Datum::int(i32::try_from(*value).ok()?),
        (PrimitiveType::Long, FilterValue::Long(value)) => Datum::long(*value),
        (PrimitiveType::String, FilterValue::Text(value)) => Datum::string(value),
        (PrimitiveType::Date, FilterValue::Date(value)) => Datum::date(*value),
        (PrimitiveType::Timestamp, FilterValue::Timestamp(value)) => Datum::timestamp_micros(*value),
        (PrimitiveType::Timestamptz, FilterValue::Timestamp(value)) => Datum::timestamptz_micros(*value),
        _ => return None,
    })
}
