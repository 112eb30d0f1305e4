//! Single bytes, written as texts of one ASCII character.

/// One byte written as a text of one ASCII character.
pub(crate) mod one_byte {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(byte: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&char::from(*byte))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_bytes() {
            [byte] => Ok(*byte),
            _ => Err(D::Error::custom(format!("`{text}` is not one ASCII character"))),
        }
    }
}

/// [`one_byte`], or nothing.
pub(crate) mod optional_byte {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(byte: &Option<u8>, serializer: S) -> Result<S::Ok, S::Error> {
        match byte {
            Some(byte) => serializer.collect_str(&char::from(*byte)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        match text.as_bytes() {
            [] => Ok(None),
            [byte] => Ok(Some(*byte)),
            _ => Err(D::Error::custom(format!("`{text}` is not one ASCII character"))),
        }
    }
}

/// [`optional_byte`], of which an empty text is none: it could mean that nothing was said, or that there are no quotes.
pub(crate) mod quote {
    use serde::{Deserialize, Deserializer, de::Error, de::IntoDeserializer};

    pub(crate) use super::optional_byte::serialize;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        match text {
            None => Ok(None),
            Some(text) if text.is_empty() => {
                Err(D::Error::custom("quote is empty; `quoting: false` reads files without quotes"))
            }
            Some(text) => super::one_byte::deserialize(text.into_deserializer()).map(Some),
        }
    }
}
