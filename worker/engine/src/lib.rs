//! From bytes in a store to transformed Arrow batches.
//!
//! [`fetch`] lists files and streams their bytes, [`read`] parses them, [`transform`] runs SQL or a Polars plan
//! over the batches, [`stream`] lets readers watch them pass. This is the only crate that sees Polars and
//! DataFusion; neither appears in a public signature. It refuses to know where rows land.

use std::pin::Pin;

use arrow::array::RecordBatch;
use futures::Stream;

mod error;
pub mod fetch;
mod landable;
pub mod read;
pub mod stream;
pub mod transform;
mod type_names;

pub use error::Error;
pub use type_names::iceberg_type_name;

/// Batches of one schema, in order. Dropping it stops all work above it.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, Error>> + Send>>;
