//! Declared columns and their types.

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind};

mod primitive;
mod ty;

pub use primitive::PrimitiveType;
pub use ty::{ColumnType, TypeField};

/// A declared column. What it leaves empty is as the format says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Column {
    /// As in the header, or the key of a JSON object.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ColumnType,
    /// How its values are written.
    #[serde(flatten)]
    pub text: ColumnText,
}

/// How the values of one column are written, where it differs from the format.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ColumnText {
    /// Texts that mean null, in place of those of the format.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub null_values: Vec<String>,
    /// How dates, times or timestamps are written, in strftime's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// IANA zone of timestamps that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Texts that mean true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub true_values: Vec<String>,
    /// Texts that mean false.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub false_values: Vec<String>,
    /// Character between the whole and the fraction of a number.
    #[serde(with = "crate::source::optional_byte", skip_serializing_if = "Option::is_none")]
    pub decimal_separator: Option<u8>,
    /// Character between groups of digits of a number.
    #[serde(with = "crate::source::optional_byte", skip_serializing_if = "Option::is_none")]
    pub thousands_separator: Option<u8>,
}

/// [`Column`] without a level below it: what serde flattens it takes for one value, and so cannot name the field that is
/// wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(rename = "type")]
    ty: ColumnType,
    #[serde(default)]
    null_values: Vec<String>,
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    true_values: Vec<String>,
    #[serde(default)]
    false_values: Vec<String>,
    #[serde(default, with = "crate::source::optional_byte")]
    decimal_separator: Option<u8>,
    #[serde(default, with = "crate::source::optional_byte")]
    thousands_separator: Option<u8>,
}

impl From<Written> for Column {
    fn from(written: Written) -> Self {
        let text = ColumnText {
            null_values: written.null_values,
            format: written.format,
            timezone: written.timezone,
            true_values: written.true_values,
            false_values: written.false_values,
            decimal_separator: written.decimal_separator,
            thousands_separator: written.thousands_separator,
        };
        Self { name: written.name, ty: written.ty, text }
    }
}

impl Column {
    /// A column whose values are written as the format says.
    #[must_use]
    pub fn new(name: impl Into<String>, ty: impl Into<ColumnType>) -> Self {
        Self { name: name.into(), ty: ty.into(), text: ColumnText::default() }
    }

    pub(crate) fn validate(&self) -> Result<(), Fault> {
        let wrong = |option: &str, types: &str| {
            let message = format!("source.columns, column {}: {option} is for {types}, not for {}", self.name, self.ty);
            Err(Fault::new(FaultKind::InvalidSpec, message))
        };
        let primitive = self.ty.primitive();
        let text = &self.text;
        let is_number = matches!(
            primitive,
            Some(
                PrimitiveType::Int
                    | PrimitiveType::Long
                    | PrimitiveType::Float
                    | PrimitiveType::Double
                    | PrimitiveType::Decimal { .. }
            )
        );
        let is_moment = matches!(
            primitive,
            Some(PrimitiveType::Date | PrimitiveType::Time | PrimitiveType::Timestamp | PrimitiveType::Timestamptz)
        );
        if !text.null_values.is_empty() && primitive.is_none() {
            return wrong("null_values", "columns of one value");
        }
        if text.format.is_some() && !is_moment {
            return wrong("format", "date, time, timestamp and timestamptz columns");
        }
        if text.timezone.is_some() && primitive != Some(PrimitiveType::Timestamptz) {
            return wrong("timezone", "timestamptz columns");
        }
        let words = !text.true_values.is_empty() || !text.false_values.is_empty();
        if words && primitive != Some(PrimitiveType::Boolean) {
            return wrong("true_values or false_values", "boolean columns");
        }
        if (text.decimal_separator.is_some() || text.thousands_separator.is_some()) && !is_number {
            return wrong("decimal_separator or thousands_separator", "columns of numbers");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_another_type_is_refused() {
        let mut column = Column::new("day", PrimitiveType::Date);
        column.text.format = Some("%d.%m.%Y".into());
        assert!(column.validate().is_ok());
        column.ty = PrimitiveType::Long.into();
        let message = column.validate().unwrap_err().message;
        assert_eq!(
            message,
            "source.columns, column day: format is for date, time, timestamp and timestamptz columns, not for long"
        );
    }

    #[test]
    fn a_column_comes_back_from_its_text() {
        let text = r#"{"name":"price","type":"decimal(9,2)","decimal_separator":","}"#;
        let column: Column = serde_json::from_str(text).unwrap();
        assert_eq!(column.text.decimal_separator, Some(b','));
        assert_eq!(serde_json::to_string(&column).unwrap(), text);
    }
}
