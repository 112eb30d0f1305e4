//! From Arrow batches that were read to those that land.
//!
//! [`transform`] runs SQL or a Polars plan over the batches, [`stream`] lets readers watch them pass. This is the only
//! crate that sees Polars and DataFusion; neither appears in a public signature. It refuses to know where rows come
//! from and where they land.

use std::pin::Pin;

use arrow::array::RecordBatch;
use futures::Stream;

mod error;
pub mod query;
pub mod stream;
pub mod transform;

pub use error::Error;

/// Batches of one schema, in order. Dropping it stops all work above it.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, Error>> + Send>>;
