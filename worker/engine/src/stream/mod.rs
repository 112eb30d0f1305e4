//! Batches for those who watch a job run.

mod tap;

pub use tap::{Tap, TapItem, TapStream};
