//! Rows into Iceberg tables: catalog, schema, data files, commit, and the rows a snapshot added.
//!
//! This is the `land` and `commit` of the flow. Batches become Parquet data files that nobody sees
//! ([`Lake::writer`]); one commit makes them visible, carrying the job's token ([`Lake::commit`]). The commit is
//! the point of no return, so the loop around it is this crate's own: before every try the table is loaded
//! again and searched for the token, and an answer that is lost is looked for, never assumed.
//!
//! It does not know where rows come from, what a job is beyond its names, or the job store; it never removes a
//! data file of its own accord ([`Lake::remove_files`] is for the server, which knows which attempt is over).

mod catalog;
mod commit;
mod error;
mod files;
mod lake;
mod read;
mod scan;
mod schema;
#[cfg(test)]
mod tests;
mod warehouse;
mod write;

pub use catalog::{CatalogSettings, RestSettings};
pub use commit::{Commit, Committed, Fence, Removed, Requirement};
pub use error::Error;
pub use lake::{Lake, TablePlan, Target};
pub use scan::{Filter, FilterTest, FilterValue, Relation, Scan, ScanCounts, TableFile, TableSnapshot};
pub use write::{Landed, StageFile, WriteOptions, Writer};
