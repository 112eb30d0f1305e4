//! What happens to rows between reading and landing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind};

/// A transform of the rows read. Written as a map of one key: `sql: SELECT ...` or `polars: {plan: ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Transform {
    /// One SELECT over the table `input`.
    Sql(String),
    /// A plan made by `LazyFrame.serialize()`.
    Polars {
        /// The binary serialization.
        plan: Vec<u8>,
        /// `polars.__version__` of the client; empty: unknown.
        polars_version: String,
    },
}

/// [`Transform`] as a map: YAML writes an enum as a tag, which nobody expects in a job file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sql: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    polars: Option<WrittenPolars>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPolars {
    /// Base64 of the serialization.
    plan: String,
    #[serde(default)]
    polars_version: String,
}

impl TryFrom<Written> for Transform {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match (written.sql, written.polars) {
            (Some(query), None) => Ok(Self::Sql(query)),
            (None, Some(polars)) => Ok(Self::Polars {
                plan: STANDARD.decode(polars.plan.trim()).map_err(|e| format!("polars.plan is not base64: {e}"))?,
                polars_version: polars.polars_version,
            }),
            _ => Err("a transform is one of sql and polars".to_owned()),
        }
    }
}

impl From<Transform> for Written {
    fn from(transform: Transform) -> Self {
        match transform {
            Transform::Sql(query) => Self { sql: Some(query), polars: None },
            Transform::Polars { plan, polars_version } => {
                Self { sql: None, polars: Some(WrittenPolars { plan: STANDARD.encode(plan), polars_version }) }
            }
        }
    }
}

impl Transform {
    /// Checks what can be checked without a schema.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the argument.
    pub fn validate(&self) -> Result<(), Fault> {
        let wrong = |message: &str| Err(Fault::new(FaultKind::InvalidSpec, message));
        match self {
            Self::Sql(query) if query.trim().is_empty() => {
                wrong("transform.sql is empty: write a SELECT over the table `input`")
            }
            Self::Polars { plan, .. } if plan.is_empty() => wrong("transform.polars holds no plan"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_from_its_text() {
        let transform = Transform::Polars { plan: vec![0, 255, 7], polars_version: "1.41.2".into() };
        let text = serde_norway::to_string(&transform).unwrap();
        assert_eq!(serde_norway::from_str::<Transform>(&text).unwrap(), transform);
    }

    #[test]
    fn two_kinds_at_once_are_refused() {
        let error = serde_norway::from_str::<Transform>("{sql: SELECT 1, polars: {plan: AA==}}").unwrap_err();
        assert!(error.to_string().contains("one of sql and polars"), "{error}");
    }
}
