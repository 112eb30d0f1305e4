//! Tables as they were parsed last: a metadata file never changes, so one that is still current is not read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::spec::TableMetadata;
use moulin_core::TableName;

use super::document::Document;

/// Tables that are kept.
const TABLES: usize = 32;

/// The newest metadata of each table, by its location; cheap to clone, and shared by clones.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<HashMap<TableName, Newest>>>);

#[derive(Debug)]
struct Newest {
    location: String,
    metadata: Arc<TableMetadata>,
    /// Of a file that was written here.
    document: Option<Document>,
}

impl Known {
    /// The metadata at this location, if it is the newest that is known.
    pub(super) fn get(&self, table: &TableName, location: &str) -> Option<Arc<TableMetadata>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(table).filter(|newest| newest.location == location).map(|newest| Arc::clone(&newest.metadata))
    }

    /// The text of the file at this location, to make another one of; it is given away, not copied.
    pub(super) fn take_document(&self, table: &TableName, location: &str) -> Option<Document> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_mut(table).filter(|newest| newest.location == location)?.document.take()
    }

    pub(super) fn put(
        &self,
        table: &TableName,
        location: &str,
        metadata: &Arc<TableMetadata>,
        document: Option<Document>,
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TABLES && !known.contains_key(table) {
            known.clear();
        }
        let newest = Newest { location: location.to_owned(), metadata: Arc::clone(metadata), document };
        known.insert(table.clone(), newest);
    }
}
