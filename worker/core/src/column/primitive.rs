//! The primitive types of columns, in Iceberg's words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The primitive types of the Iceberg specification (v2) that a text file can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrimitiveType {
    /// `boolean`
    Boolean,
    /// `int`, 32 bits
    Int,
    /// `long`, 64 bits
    Long,
    /// `float`, 32 bits
    Float,
    /// `double`, 64 bits
    Double,
    /// `decimal(precision,scale)`, precision at most 38
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// `date`
    Date,
    /// `time`, microseconds
    Time,
    /// `timestamp`, microseconds, no zone
    Timestamp,
    /// `timestamptz`, microseconds, UTC
    Timestamptz,
    /// `string`
    String,
    /// `binary`
    Binary,
}

impl fmt::Display for PrimitiveType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int => f.write_str("int"),
            Self::Long => f.write_str("long"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Timestamptz => f.write_str("timestamptz"),
            Self::String => f.write_str("string"),
            Self::Binary => f.write_str("binary"),
        }
    }
}

impl FromStr for PrimitiveType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::Timestamptz,
            "string" => Self::String,
            "binary" => Self::Binary,
            other => return parse_decimal(other),
        })
    }
}

fn parse_decimal(text: &str) -> Result<PrimitiveType, String> {
    let refused = || {
        format!(
            "`{text}` is not a column type; there are boolean, int, long, float, double, decimal(p,s), date, time, \
             timestamp, timestamptz, string, binary"
        )
    };
    let inner = text.strip_prefix("decimal").map(str::trim).and_then(|t| t.strip_prefix('(')?.strip_suffix(')'));
    let (precision, scale) = inner.and_then(|i| i.split_once(',')).ok_or_else(refused)?;
    let precision: u8 = precision.trim().parse().map_err(|_| refused())?;
    let scale: u8 = scale.trim().parse().map_err(|_| refused())?;
    if precision == 0 || precision > 38 || scale > precision {
        return Err(format!("`{text}`: a decimal has 1 to 38 digits, and no more after the point than in all"));
    }
    Ok(PrimitiveType::Decimal { precision, scale })
}

impl Serialize for PrimitiveType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PrimitiveType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_back_from_their_text() {
        for text in [
            "boolean",
            "int",
            "long",
            "float",
            "double",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "string",
            "binary",
            "decimal(12,2)",
        ] {
            assert_eq!(text.parse::<PrimitiveType>().unwrap().to_string(), text);
        }
        assert_eq!(
            "decimal( 5 , 0 )".parse::<PrimitiveType>().unwrap(),
            PrimitiveType::Decimal { precision: 5, scale: 0 }
        );
    }

    #[test]
    fn a_wrong_type_is_refused_with_the_list() {
        assert!("integer".parse::<PrimitiveType>().unwrap_err().contains("there are boolean, int, long"));
        assert!("decimal(39,2)".parse::<PrimitiveType>().unwrap_err().contains("1 to 38"));
        assert!("decimal(3,4)".parse::<PrimitiveType>().is_err());
    }
}
