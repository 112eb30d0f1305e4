//! The summary of a snapshot: the keys and rules of Java's `SnapshotSummary`.

use std::collections::HashMap;

use iceberg::spec::{SchemaRef, Snapshot, Summary, TableMetadata};
use moulin_core::Token;

use super::Commit;
use super::changes::Changes;
use super::token::{ATTEMPT_ID_KEY, ATTEMPT_KEY, Carried, JOBS_KEY};
use crate::Error;

/// Total, what adds to it, what takes from it.
const TOTALS: [(&str, &str, &str); 6] = [
    ("total-data-files", "added-data-files", "deleted-data-files"),
    ("total-delete-files", "added-delete-files", "removed-delete-files"),
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    ("total-position-deletes", "added-position-deletes", "removed-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes", "removed-equality-deletes"),
];

/// What is computed wins over what a caller passes.
pub(super) fn summary(
    metadata: &TableMetadata,
    schema: &SchemaRef,
    parent: Option<&Snapshot>,
    commits: &[&Commit],
    changes: &Changes<'_>,
) -> Result<Summary, Error> {
    let limit = metadata.properties().get("write.summary.partition-limit").and_then(|text| text.parse().ok());
    let mut properties = carried(commits)?;
    properties.extend(changes.properties(schema, limit.unwrap_or_default()));
    let before = parent.map(|snapshot| &snapshot.summary().additional_properties);
    for (total, added, removed) in TOTALS {
        let number = |key: &str| properties.get(key).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let before = match before {
            None => Some(0),
            Some(before) => before.get(total).and_then(|text| text.parse::<u64>().ok()),
        };
        // A writer that kept no totals leaves them unknown for ever after.
        let Some(before) = before else { continue };
        let now = before.saturating_add(number(added)).saturating_sub(number(removed));
        properties.insert(total.to_owned(), now.to_string());
    }
    Ok(Summary { operation: changes.operation(), additional_properties: properties })
}

// What the commits say of themselves.
fn carried(commits: &[&Commit]) -> Result<HashMap<String, String>, Error> {
    let mut properties = HashMap::new();
    if let [one] = commits {
        properties.extend(one.summary.clone());
    } else {
        let all = commits.iter().map(|commit| Carried {
            job: commit.token.0.clone(),
            attempt: commit.attempt,
            attempt_id: commit.attempt_id.clone(),
            summary: commit.summary.clone(),
        });
        let all = serde_json::to_string(&all.collect::<Vec<_>>());
        let all = all.map_err(|e| Error::invalid(format!("the commits of a snapshot cannot be named: {e}")))?;
        properties.insert(JOBS_KEY.to_owned(), all);
    }
    if let Some(first) = commits.first() {
        properties.insert(Token::SUMMARY_KEY.to_owned(), first.token.0.clone());
        properties.insert(ATTEMPT_KEY.to_owned(), first.attempt.to_string());
        if !first.attempt_id.is_empty() {
            properties.insert(ATTEMPT_ID_KEY.to_owned(), first.attempt_id.clone());
        }
    }
    Ok(properties)
}
