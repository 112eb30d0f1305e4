//! Attempts that may not commit any more.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use moulin_core::Fault;

/// Asks whether an attempt may still commit.
///
/// It is asked after the base is loaded and before the swap on it, in this order. So whoever has first made the answer "no"
/// and then moved the table on ([`crate::Lake::move_on`]) knows that the attempt cannot commit: a base from before is
/// not the table's any more, and on a later one the answer is "no".
#[derive(Clone)]
pub struct Fence(Arc<dyn Fn() -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>);

impl Fence {
    /// A fence that asks `ask`; any fault ends the commit, before the swap.
    pub fn new(ask: impl Fn() -> BoxFuture<'static, Result<(), Fault>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(super) async fn ask(&self) -> Result<(), Fault> {
        (self.0)().await
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fence")
    }
}
