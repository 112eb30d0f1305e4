//! What happens to rows between reading and landing.

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind};

/// A transform of the rows read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Transform {
    /// One SELECT over the table `input`.
    Sql(String),
    /// A plan made by `LazyFrame.serialize()`.
    Polars {
        /// The binary serialization.
        plan: Vec<u8>,
        /// `polars.__version__` of the client; empty: unknown.
        #[serde(default)]
        polars_version: String,
    },
}

impl Transform {
    /// Checks what can be checked without a schema.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the argument.
    pub fn validate(&self) -> Result<(), Fault> {
        let wrong = |message: &str| Err(Fault::new(FaultKind::InvalidSpec, message));
        match self {
            Self::Sql(query) if query.trim().is_empty() => wrong("transform.sql is empty: write a SELECT over the table `input`"),
            Self::Polars { plan, .. } if plan.is_empty() => wrong("transform.polars holds no plan"),
            _ => Ok(()),
        }
    }
}
