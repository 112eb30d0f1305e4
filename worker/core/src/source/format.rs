//! How files are written, as a whole.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CsvFormat, JsonFormat, NdjsonFormat};

/// How files are written. In YAML a format is its name, or its name with options: `format: ndjson`,
/// `format: {csv: {delimiter: "|"}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Delimited text.
    Csv(CsvFormat),
    /// One JSON object a line.
    Ndjson(NdjsonFormat),
    /// One JSON document that holds an array of objects.
    Json(JsonFormat),
    /// Apache Parquet.
    Parquet,
}

/// The options, under the name of the format.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Options {
    Csv(CsvFormat),
    Ndjson(NdjsonFormat),
    Json(JsonFormat),
}

impl Format {
    /// `csv`, `ndjson`, `json` or `parquet`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Csv(_) => "csv",
            Self::Ndjson(_) => "ndjson",
            Self::Json(_) => "json",
            Self::Parquet => "parquet",
        }
    }

    /// The format of that name, with its defaults.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "csv" => Self::Csv(CsvFormat::default()),
            "ndjson" => Self::Ndjson(NdjsonFormat::default()),
            "json" => Self::Json(JsonFormat::default()),
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let by_name = |options: Options| serde_json::to_value(options).map_err(serde::ser::Error::custom);
        match self {
            Self::Parquet => serializer.serialize_str("parquet"),
            Self::Csv(csv) => by_name(Options::Csv(csv.clone()))?.serialize(serializer),
            Self::Ndjson(ndjson) => by_name(Options::Ndjson(ndjson.clone()))?.serialize(serializer),
            Self::Json(json) => by_name(Options::Json(json.clone()))?.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Through a value, so that the error about an option is the one of its own format.
        let value = serde_json::Value::deserialize(deserializer)?;
        if let Some(name) = value.as_str() {
            return Self::named(name)
                .ok_or_else(|| D::Error::custom(format!("no format `{name}`; there are csv, ndjson, json, parquet")));
        }
        let single = value.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next());
        match single {
            Some((name, serde_json::Value::Null)) if Self::named(name).is_some() => {
                Self::named(name).ok_or_else(|| D::Error::custom("no format"))
            }
            Some((name, options))
                if name == "parquet" && options.as_object().is_some_and(serde_json::Map::is_empty) =>
            {
                Ok(Self::Parquet)
            }
            Some((name, options)) if matches!(name.as_str(), "csv" | "ndjson" | "json") => {
                match serde_json::from_value(value.clone()) {
                    Ok(Options::Csv(csv)) => Ok(Self::Csv(csv)),
                    Ok(Options::Ndjson(ndjson)) => Ok(Self::Ndjson(ndjson)),
                    Ok(Options::Json(json)) => Ok(Self::Json(json)),
                    Err(error) => Err(D::Error::custom(match wrong_option(name, options) {
                        Some(option) => format!("{name}.{option}: {error}"),
                        None => format!("{name}: {error}"),
                    })),
                }
            }
            Some((name, _)) if Self::named(name).is_none() => {
                Err(D::Error::custom(format!("no format `{name}`; there are csv, ndjson, json, parquet")))
            }
            _ => Err(D::Error::custom(format!(
                "format is {value}, expected csv, ndjson, json, parquet, or one of them with its options: {{csv: {{delimiter: \";\"}}}}",
            ))),
        }
    }
}

/// The option of a format that is known and has no value of its own.
fn wrong_option<'a>(format: &str, options: &'a serde_json::Value) -> Option<&'a String> {
    let is_wrong = |(option, value): &(&String, &serde_json::Value)| {
        let alone = serde_json::json!({format: {option.as_str(): value}});
        serde_json::from_value::<Options>(alone).is_err_and(|error| !error.to_string().starts_with("unknown field"))
    };
    options.as_object()?.iter().find(is_wrong).map(|(option, _)| option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_with_a_wrong_value_is_named() {
        let refused = |options: &str| {
            serde_json::from_str::<Format>(&format!(r#"{{"csv":{{"delimiter":";",{options}}}}}"#))
                .unwrap_err()
                .to_string()
        };
        for (options, message) in [
            (r#""escape":"ab""#, "csv.escape: `ab` is not one ASCII character"),
            (r#""quote":"é""#, "csv.quote: `é` is not one ASCII character"),
            (r#""quote":"""#, "csv.quote: quote is empty; `quoting: false` reads files without quotes"),
            (r#""skip_lines":"two""#, "csv.skip_lines: invalid type: string \"two\", expected u64"),
        ] {
            assert_eq!(refused(options), message);
        }
        let message = refused(r#""encoding":"ascii""#);
        assert!(message.starts_with("csv.encoding: unknown variant `ascii`, expected one of `auto`, "), "{message}");
        let message = refused(r#""delimeter":",""#);
        assert!(message.starts_with("csv: unknown field `delimeter`, expected one of "), "{message}");
    }

    #[test]
    fn an_escape_may_be_the_quote_or_nothing() {
        let read = |options: &str| match serde_json::from_str(&format!(r#"{{"csv":{{{options}}}}}"#)).unwrap() {
            Format::Csv(csv) => csv,
            other => panic!("{other:?}"),
        };
        let doubled = read(r#""escape":"\"","doubled_quotes":false"#);
        doubled.validate().unwrap();
        assert_eq!((doubled.escape_byte(), doubled.doubles_quotes()), (None, true));
        let other = read(r#""escape":"\"","quote":"'","doubled_quotes":false"#);
        other.validate().unwrap();
        assert_eq!((other.escape_byte(), other.doubles_quotes()), (Some(b'"'), false));
        assert_eq!(read(r#""escape":"","thousands_separator":"""#), CsvFormat::default());
    }

    #[test]
    fn a_format_that_is_none_is_quoted() {
        let refused = |text: &str| serde_json::from_str::<Format>(text).unwrap_err().to_string();
        for text in [r#""csvv""#, r#"{"csvv":{"delimiter":";"}}"#, r#"{"csvv":null}"#] {
            assert_eq!(refused(text), "no format `csvv`; there are csv, ndjson, json, parquet");
        }
        assert!(refused("7").starts_with("format is 7, expected csv, "), "{}", refused("7"));
        assert!(refused(r#"{"parquet":{"x":1}}"#).starts_with(r#"format is {"parquet":{"x":1}}, expected "#));
    }
}
