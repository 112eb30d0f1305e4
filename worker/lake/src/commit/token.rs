//! Tokens in snapshot summaries.
//!
//! A snapshot of one commit holds its token under `moulin.job`, its attempt under `moulin.attempt` and what tells that
//! attempt from others of its number under `moulin.attempt-id`. One of several commits holds those of the first there, and
//! all of them as JSON under `moulin.jobs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use iceberg::spec::{Snapshot, TableMetadata};
use moulin_core::Token;
use serde::{Deserialize, Serialize};

use super::Committed;
use crate::catalog::Loaded;

/// Snapshot summary property that holds the number of the attempt that committed.
pub(super) const ATTEMPT_KEY: &str = "moulin.attempt";
/// Snapshot summary property that holds [`super::Commit::attempt_id`].
pub(super) const ATTEMPT_ID_KEY: &str = "moulin.attempt-id";
/// Snapshot summary property that holds the commits of a snapshot of several.
pub(super) const JOBS_KEY: &str = "moulin.jobs";

/// One of several commits in a snapshot: what stands under `moulin.jobs`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    pub(super) job: String,
    pub(super) attempt: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) attempt_id: String,
    /// The summary that the commit would have had alone.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(super) summary: std::collections::BTreeMap<String, String>,
}

/// The tokens that snapshots carry, by their key. Shared by a table and what it was before: whoever looks counts only those
/// snapshots that the table has as it was loaded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens(Arc<OnceLock<Mutex<ByKey>>>);

type ByKey = HashMap<String, Vec<Carrier>>;

/// A snapshot that carries a token.
#[derive(Debug, Clone)]
struct Carrier {
    token: Token,
    attempt: u32,
    attempt_id: String,
    snapshot_id: i64,
}

impl Tokens {
    /// Those of the table, which had these, with one more snapshot.
    pub(crate) fn followed_by(&self, before: &TableMetadata, snapshot: &Snapshot) -> Self {
        let mut known = self.known(before);
        carriers(snapshot).for_each(|carrier| add(&mut known, carrier));
        drop(known);
        self.clone()
    }

    // Made when it is first asked for: thousands of snapshots are looked at once, not before every commit.
    fn known(&self, metadata: &TableMetadata) -> MutexGuard<'_, ByKey> {
        let known = self.0.get_or_init(|| {
            let mut known = ByKey::new();
            metadata.snapshots().flat_map(|snapshot| carriers(snapshot)).for_each(|carrier| add(&mut known, carrier));
            Mutex::new(known)
        });
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(known: &mut ByKey, carrier: Carrier) {
    known.entry(carrier.token.key().to_owned()).or_default().push(carrier);
}

/// The snapshot of a loaded table that carries the token.
pub(crate) fn find(loaded: &Loaded, token: &Token) -> Option<Committed> {
    let found = of_key(loaded, token).into_iter().find(|carrier| carrier.token == *token)?;
    let metadata_location = loaded.location.clone();
    let Carrier { attempt, attempt_id, snapshot_id, .. } = found;
    Some(Committed { snapshot_id, metadata_location, attempt, attempt_id: Some(attempt_id) })
}

/// The generations of the token's key that snapshots carry, each with its snapshot, in no order.
pub(crate) fn generations(loaded: &Loaded, token: &Token) -> impl Iterator<Item = (u32, i64)> + use<> {
    of_key(loaded, token).into_iter().filter_map(|carrier| Some((carrier.token.generation()?, carrier.snapshot_id)))
}

fn of_key(loaded: &Loaded, token: &Token) -> Vec<Carrier> {
    let known = loaded.tokens.known(&loaded.metadata);
    let of_key = known.get(token.key()).into_iter().flatten();
    of_key.filter(|carrier| loaded.metadata.snapshot_by_id(carrier.snapshot_id).is_some()).cloned().collect()
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

// Of a snapshot of several commits the first one stands in both places.
fn carriers(snapshot: &Snapshot) -> impl Iterator<Item = Carrier> + use<> {
    let snapshot_id = snapshot.snapshot_id();
    let properties = &snapshot.summary().additional_properties;
    let several = properties.get(JOBS_KEY).map(|text| carried(text)).unwrap_or_default();
    let one = properties.get(Token::SUMMARY_KEY).filter(|text| several.iter().all(|other| other.job != **text));
    let attempt = properties.get(ATTEMPT_KEY).and_then(|text| text.parse().ok()).unwrap_or_default();
    let attempt_id = properties.get(ATTEMPT_ID_KEY).cloned().unwrap_or_default();
    let one = one.map(|text| Carrier { token: Token(text.clone()), attempt, attempt_id, snapshot_id });
    let several = several.into_iter().map(move |one| Carrier {
        token: Token(one.job),
        attempt: one.attempt,
        attempt_id: one.attempt_id,
        snapshot_id,
    });
    one.into_iter().chain(several)
}

// What is not of this shape was not written by Moulin.
fn carried(text: &str) -> Vec<Carried> {
    serde_json::from_str(text).unwrap_or_default()
}
