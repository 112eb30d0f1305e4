//! What rows are wanted, as plain values: a reader may leave out what cannot hold one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, Scalar, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};

/// A condition on one column. Conditions of a source all hold for a wanted row.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// A column of the schema, not inside of another.
    pub column: String,
    /// What its value must be.
    pub test: Test,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// `column <comparison> literal`; null is not wanted.
    Compare(Comparison, Literal),
    /// Equal to one of these.
    OneOf(Vec<Literal>),
    /// Null.
    IsNull,
    /// Anything but null.
    IsNotNull,
}

/// How a value compares with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
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
pub enum Literal {
    /// `true`, `false`
    Boolean(bool),
    /// A whole number.
    Long(i64),
    /// `unscaled / 10^scale`
    Decimal {
        /// All digits.
        unscaled: i128,
        /// Digits after the point.
        scale: i8,
    },
    /// A text.
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01, UTC for columns with a zone.
    Timestamp(i64),
}

impl Literal {
    /// The same value as one of a column; `None` when that cannot be said exactly.
    pub(crate) fn as_type(&self, ty: &DataType) -> Option<Scalar<ArrayRef>> {
        let own: ArrayRef = match self {
            Self::Boolean(value) => Arc::new(BooleanArray::from(vec![*value])),
            Self::Long(value) => Arc::new(Int64Array::from(vec![*value])),
            Self::Decimal { unscaled, scale } => Arc::new(
                Decimal128Array::from(vec![*unscaled])
                    .with_precision_and_scale(DECIMAL128_MAX_PRECISION, *scale)
                    .ok()?,
            ),
            Self::Text(value) => Arc::new(StringArray::from(vec![value.as_str()])),
            Self::Date(value) => Arc::new(Date32Array::from(vec![*value])),
            Self::Timestamp(value) => {
                let moment = TimestampMicrosecondArray::from(vec![*value]);
                match ty {
                    DataType::Timestamp(_, Some(zone)) => Arc::new(moment.with_timezone(Arc::clone(zone))),
                    _ => Arc::new(moment),
                }
            }
        };
        let is_alike = match self {
            Self::Boolean(_) => matches!(ty, DataType::Boolean),
            Self::Long(_) | Self::Decimal { .. } => {
                matches!(ty, DataType::Int32 | DataType::Int64 | DataType::Decimal128(..))
            }
            Self::Text(_) => matches!(ty, DataType::Utf8),
            Self::Date(_) => matches!(ty, DataType::Date32),
            Self::Timestamp(_) => matches!(ty, DataType::Timestamp(..)),
        };
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = cast_with_options(&own, ty, &options).ok().filter(|_| is_alike)?;
        let back = cast_with_options(&cast, own.data_type(), &options).ok()?;
        (back.to_data() == own.to_data()).then(|| Scalar::new(cast))
    }
}
