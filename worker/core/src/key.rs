//! Who asks for a job, and the names made from it.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Who asks: in Airflow one task instance. `map_index` is -1 for a task that is not mapped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobKey {
    /// May be empty outside Airflow.
    #[serde(default)]
    pub dag_id: String,
    /// May be empty outside Airflow.
    #[serde(default)]
    pub run_id: String,
    /// Never empty.
    pub task_id: String,
    /// -1: not mapped.
    #[serde(default = "unmapped")]
    pub map_index: i32,
}

fn unmapped() -> i32 {
    -1
}

impl fmt::Display for JobKey {
    /// `dag/run/task/map_index`, each part percent-encoded where it holds `/` or `%`, so that two keys never
    /// have one text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| text.replace('%', "%25").replace('/', "%2F");
        write!(f, "{}/{}/{}/{}", part(&self.dag_id), part(&self.run_id), part(&self.task_id), self.map_index)
    }
}

/// The commit token `key/generation`: stands in the snapshot summary under `moulin.job` and in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token(pub String);

impl Token {
    /// Snapshot summary property that holds the token.
    pub const SUMMARY_KEY: &'static str = "moulin.job";

    /// The token of one generation of a key.
    #[must_use]
    pub fn new(key: &JobKey, generation: u32) -> Self {
        Self(format!("{key}/{generation}"))
    }

    /// The text of the key: the token without its generation.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(key, _)| key)
    }

    /// The generation; `None`: the text is no token of a job.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        self.0.rsplit_once('/').and_then(|(_, generation)| generation.parse().ok())
    }

    /// The job's name: the same for every submit of this key and generation.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        let digest = Sha256::digest(self.0.as_bytes());
        let hex: String = digest.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
        JobId(format!("job-{hex}"))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job's name, `job-` and twenty hexadecimal digits made from its [`Token`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub String);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(dag: &str, run: &str) -> JobKey {
        JobKey { dag_id: dag.into(), run_id: run.into(), task_id: "t".into(), map_index: -1 }
    }

    #[test]
    fn different_keys_have_different_tokens() {
        assert_ne!(Token::new(&key("a/b", "c"), 0), Token::new(&key("a", "b/c"), 0));
        assert_ne!(Token::new(&key("a", "b"), 0).job_id(), Token::new(&key("a", "b"), 1).job_id());
        assert_eq!(Token::new(&key("a", "b"), 0).job_id(), Token::new(&key("a", "b"), 0).job_id());
    }

    #[test]
    fn a_token_tells_key_and_generation() {
        let key = key("a/b", "c");
        let token = Token::new(&key, 12);
        assert_eq!((token.key(), token.generation()), (key.to_string().as_str(), Some(12)));
    }
}
