//! Tokens in snapshot summaries.
//!
//! A snapshot of one commit holds its token under `moulin.job` and its attempt under `moulin.attempt`. One of several
//! commits holds those of the first there, and all of them as JSON under `moulin.jobs`.

use iceberg::spec::{Snapshot, TableMetadata};
use moulin_core::Token;
use serde::{Deserialize, Serialize};

use super::Committed;
use crate::catalog::Loaded;

/// Snapshot summary property that holds the number of the attempt that committed.
pub(super) const ATTEMPT_KEY: &str = "moulin.attempt";
/// Snapshot summary property that holds the commits of a snapshot of several.
pub(super) const JOBS_KEY: &str = "moulin.jobs";

/// One of several commits in a snapshot: what stands under `moulin.jobs`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    pub(super) job: String,
    pub(super) attempt: u32,
    /// The summary that the commit would have had alone.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(super) summary: std::collections::BTreeMap<String, String>,
}

/// The snapshot of a loaded table that carries the token.
pub(crate) fn find(loaded: &Loaded, token: &Token) -> Option<Committed> {
    loaded.metadata.snapshots().find_map(|snapshot| {
        let attempt = attempt_of(snapshot, token)?;
        Some(Committed { snapshot_id: snapshot.snapshot_id(), metadata_location: loaded.location.clone(), attempt })
    })
}

/// The generations of the token's key that snapshots carry, each with its snapshot, in no order.
pub(crate) fn generations<'m>(
    metadata: &'m TableMetadata,
    token: &'m Token,
) -> impl Iterator<Item = (u32, i64)> + use<'m> {
    let key = token.key();
    let quoted_key = json_text(key);
    let of_key = move |text: &str| {
        // Nearly all are of other keys, and nothing is made of those.
        let other = text.starts_with(key).then(|| Token(text.to_owned()))?;
        (other.key() == key).then(|| other.generation()).flatten()
    };
    metadata.snapshots().flat_map(move |snapshot| {
        let id = snapshot.snapshot_id();
        let properties = &snapshot.summary().additional_properties;
        let one = properties.get(Token::SUMMARY_KEY).and_then(|text| of_key(text));
        let several = properties.get(JOBS_KEY).filter(|text| text.contains(&quoted_key)).map(|text| carried(text));
        let several = several.unwrap_or_default();
        one.into_iter().chain(several.into_iter().filter_map(move |c| of_key(&c.job))).map(move |g| (g, id))
    })
}

/// The commits whose summary has a property: token, snapshot and value, in no order.
pub(crate) fn with_property<'m>(
    metadata: &'m TableMetadata,
    property: &'m str,
) -> impl Iterator<Item = (Token, i64, String)> + use<'m> {
    metadata.snapshots().flat_map(move |snapshot| {
        let id = snapshot.snapshot_id();
        let properties = &snapshot.summary().additional_properties;
        let one = properties.get(Token::SUMMARY_KEY).zip(properties.get(property));
        let one = one.map(|(token, value)| (Token(token.clone()), id, value.clone()));
        let several = properties.get(JOBS_KEY).filter(|text| text.contains(property)).map(|text| carried(text));
        let several = several.unwrap_or_default().into_iter().filter_map(move |mut commit| {
            let value = commit.summary.remove(property)?;
            Some((Token(commit.job), id, value))
        });
        one.into_iter().chain(several)
    })
}

fn attempt_of(snapshot: &Snapshot, token: &Token) -> Option<u32> {
    let properties = &snapshot.summary().additional_properties;
    if properties.get(Token::SUMMARY_KEY).is_some_and(|text| *text == token.0) {
        let attempt = properties.get(ATTEMPT_KEY).and_then(|text| text.parse().ok());
        return Some(attempt.unwrap_or_default());
    }
    // Thousands of snapshots are looked at before every commit: only one that may hold the token is parsed.
    let several = properties.get(JOBS_KEY).filter(|text| text.contains(&json_text(&token.0)))?;
    carried(several).into_iter().find(|c| c.job == token.0).map(|c| c.attempt)
}

// As it stands inside a JSON string.
fn json_text(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

// What is not of this shape was not written by Moulin.
fn carried(text: &str) -> Vec<Carried> {
    serde_json::from_str(text).unwrap_or_default()
}
