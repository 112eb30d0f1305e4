//! Durations in files and specs are text with a unit: `90s`, `15m`, `1h 30m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

pub(crate) fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(duration) => serializer.serialize_str(&humantime::format_duration(*duration).to_string()),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|t| {
        humantime::parse_duration(&t)
            .map_err(|e| D::Error::custom(format!("`{t}` is not a duration such as 90s or 15m: {e}")))
    })
    .transpose()
}
