//! Tables as they were parsed last: a metadata file never changes, so one that is still current is not read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use moulin_core::TableName;

use super::document::Document;
use crate::catalog::Loaded;

/// Tables that are kept.
const TABLES: usize = 32;

/// The newest state of each table; cheap to clone, and shared by clones.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<HashMap<TableName, Newest>>>);

#[derive(Debug)]
struct Newest {
    loaded: Loaded,
    /// Of a file that was written here.
    document: Option<Document>,
}

impl Known {
    /// The table at this metadata location, if it is the newest that is known.
    pub(super) fn get(&self, table: &TableName, location: &str) -> Option<Loaded> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(table).map(|newest| &newest.loaded).filter(|loaded| loaded.location == location).cloned()
    }

    /// The text of the file at this location, to make another one of; it is given away, not copied.
    pub(super) fn take_document(&self, table: &TableName, location: &str) -> Option<Document> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_mut(table).filter(|newest| newest.loaded.location == location)?.document.take()
    }

    pub(super) fn put(&self, table: &TableName, loaded: Loaded, document: Option<Document>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TABLES && !known.contains_key(table) {
            known.clear();
        }
        known.insert(table.clone(), Newest { loaded, document });
    }
}
