//! The states of a job and the only moves between them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted; nobody works on it now.
    Queued,
    /// A worker holds the lease.
    Running,
    /// Committed. Final.
    Succeeded,
    /// Nothing is visible. Final, but for a newer try ([`JobState::may_reopen`]).
    Failed,
    /// Cancelled before its commit. Final, but for a newer try.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether nothing can change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The table of moves. `Running -> Queued` is a lost lease or an attempt that a retry can help.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Queued, Self::Running | Self::Failed | Self::Cancelled) => true,
            (Self::Running, Self::Queued | Self::Succeeded | Self::Failed | Self::Cancelled) => true,
            // A lease that ran out lets another worker take a running job over.
            (Self::Running, Self::Running) => true,
            _ => false,
        }
    }

    /// Whether a newer try of the same task begins the job again: nothing of it is visible, so nothing can double. A job that
    /// succeeded is only attached to.
    #[must_use]
    pub fn may_reopen(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }

    /// The word in the job store and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_state_stays() {
        for from in JobState::ALL.into_iter().filter(|s| s.is_final()) {
            for to in JobState::ALL {
                assert!(!from.may_become(to), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn words_come_back() {
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
    }
}
