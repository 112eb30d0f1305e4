//! What is wrong with a row, as a word that never changes. `docs/errors.md` lists them.

use std::fmt;

use moulin_core::PrimitiveType;

macro_rules! codes {
    ($($code:ident = $text:literal),* $(,)?) => {
        /// The code of a rejected row.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($code),* }

        impl Code {
            /// All of them.
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$code),*];

            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$code => $text),* }
            }
        }
    };
}

codes! {
    TypeBoolean = "type.boolean",
    TypeInt = "type.int",
    TypeLong = "type.long",
    TypeFloat = "type.float",
    TypeDouble = "type.double",
    TypeDecimal = "type.decimal",
    TypeDate = "type.date",
    TypeTime = "type.time",
    TypeTimestamp = "type.timestamp",
    TypeTimestamptz = "type.timestamptz",
    TypeString = "type.string",
    TypeBinary = "type.binary",
    TypeNested = "type.nested",
    Utf8 = "utf8",
    CsvFieldCount = "csv.field_count",
    CsvColumns = "csv.columns",
    CsvFieldBytes = "csv.field_bytes",
    CsvRecordBytes = "csv.record_bytes",
    CsvQuote = "csv.quote",
    CsvUnclosedQuote = "csv.unclosed_quote",
    JsonSyntax = "json.syntax",
    JsonNotAnObject = "json.not_an_object",
    JsonDepth = "json.depth",
    JsonSurrogate = "json.surrogate",
    JsonDuplicateKey = "json.duplicate_key",
    JsonFieldBytes = "json.field_bytes",
    JsonRecordBytes = "json.record_bytes",
    ContractColumn = "contract.column",
}

impl Code {
    /// The code of a text that is no value of a type.
    pub(crate) fn of_type(ty: PrimitiveType) -> Self {
        match ty {
            PrimitiveType::Boolean => Self::TypeBoolean,
            PrimitiveType::Int => Self::TypeInt,
            PrimitiveType::Long => Self::TypeLong,
            PrimitiveType::Float => Self::TypeFloat,
            PrimitiveType::Double => Self::TypeDouble,
            PrimitiveType::Decimal { .. } => Self::TypeDecimal,
            PrimitiveType::Date => Self::TypeDate,
            PrimitiveType::Time => Self::TypeTime,
            PrimitiveType::Timestamp => Self::TypeTimestamp,
            PrimitiveType::Timestamptz => Self::TypeTimestamptz,
            PrimitiveType::String => Self::TypeString,
            PrimitiveType::Binary => Self::TypeBinary,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_documents_and_no_other_is() {
        let errors = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md")).unwrap();
        let table = errors.split_once("| code | the row |").unwrap().1;
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let mut told: Vec<String> = Vec::new();
        for row in rows {
            for word in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
                // `.int` behind `type.boolean` is `type.int`.
                let base = told.last().and_then(|last| last.split_once('.')).map_or("", |(base, _)| base).to_owned();
                told.push(if word.starts_with('.') { base + word } else { word.to_owned() });
            }
        }
        let mut known: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
    }
}
