//! What the tests of several crates share. No other code depends on it.

mod postgres;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use postgres::postgres_schema;

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct FakeClock {
    elapsed_us: AtomicU64,
}

impl FakeClock {
    /// The moment every fake clock starts at: 2026-01-01T00:00:00Z.
    pub const START: Duration = Duration::from_secs(1_767_225_600);

    /// Now, as the test has it.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Self::START + Duration::from_micros(self.elapsed_us.load(Ordering::SeqCst))
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.elapsed_us.fetch_add(us, Ordering::SeqCst);
    }
}
