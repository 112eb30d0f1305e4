//! Credentials that a catalog gave are asked for again before they expire: a landing may take longer than they last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moulin_core::TableName;

use super::{Rest, Session};
use crate::warehouse::Warehouse;

/// How long before their end they are asked for again; at the latest after half of their life.
const EARLY: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(10);
/// A server that gives what has expired already is not asked all the time.
const SHORTEST: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1_000 });
/// How long after a table was last asked for by a job its credentials are kept fresh: no job takes longer.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// When a table's credentials expire and until when they are wanted, for every table that has a task.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<HashMap<TableName, Kept>>);

#[derive(Debug, Clone, Copy)]
struct Kept {
    expires: SystemTime,
    wanted_until: SystemTime,
}

impl Renewals {
    /// Notes what was given, and keeps it fresh from now on; one task a table.
    pub(super) fn keep(&self, rest: &Rest, table: &TableName, expires: SystemTime) {
        let kept = Kept { expires, wanted_until: SystemTime::now() + KEPT };
        if self.lock().insert(table.clone(), kept).is_none() {
            tokio::spawn(renew(Held::of(rest), table.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TableName, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait; `None`, and forgotten: nobody wants them any more.
    fn wait(&self, table: &TableName) -> Option<Duration> {
        let (mut all, now) = (self.lock(), SystemTime::now());
        let kept = all.get(table).filter(|kept| kept.wanted_until > now).copied();
        let Some(kept) = kept else {
            all.remove(table);
            return None;
        };
        let left = kept.expires.duration_since(now).unwrap_or_default();
        Some(left.saturating_sub(EARLY).max(left / 2).max(SHORTEST))
    }

    fn renewed(&self, table: &TableName, expires: Option<SystemTime>) {
        let mut all = self.lock();
        match (all.get_mut(table), expires) {
            (Some(kept), Some(expires)) => kept.expires = expires,
            // The catalog gives none any more, or the table is gone.
            (Some(_), None) => drop(all.remove(table)),
            (None, _) => {}
        }
    }
}

/// A catalog as a task holds it: without keeping it.
struct Held {
    session: Weak<Session>,
    name: String,
    uri: String,
    warehouse: Warehouse,
    renewals: Arc<Renewals>,
}

impl Held {
    fn of(rest: &Rest) -> Self {
        Self {
            session: Arc::downgrade(&rest.session),
            name: rest.name.clone(),
            uri: rest.uri.clone(),
            warehouse: rest.warehouse.clone(),
            renewals: rest.renewals.clone(),
        }
    }

    fn catalog(&self) -> Option<Rest> {
        let session = self.session.upgrade()?;
        let (name, uri) = (self.name.clone(), self.uri.clone());
        Some(Rest { session, name, uri, warehouse: self.warehouse.clone(), renewals: self.renewals.clone() })
    }
}

async fn renew(held: Held, table: TableName) {
    while let Some(wait) = held.renewals.wait(&table) {
        tokio::time::sleep(wait).await;
        let Some(rest) = held.catalog() else { return };
        match rest.load_once(&table).await {
            Ok((_, expires)) => held.renewals.renewed(&table, expires),
            Err(error) => {
                tracing::warn!(%table, %error, "the catalog gives no new credentials");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// When the first of some credentials expires, if they say so.
pub(super) fn expiry(properties: &HashMap<String, String>) -> Option<SystemTime> {
    let says = |name: &str| {
        matches!(name, "s3.session-token-expires-at-ms" | "gcs.oauth2.token-expires-at")
            || name.starts_with("adls.sas-token-expires-at-ms")
    };
    let times = properties.iter().filter(|(name, _)| says(name)).filter_map(|(_, text)| text.parse().ok());
    times.min().map(|ms| UNIX_EPOCH + Duration::from_millis(ms))
}
