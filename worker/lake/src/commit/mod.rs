//! One snapshot, at most once: reload, look for the tokens, build, compare-and-swap.
//!
//! Why this is exactly once even when an answer is lost: a swap succeeds only if the table still is the base it
//! was built on, and every base is searched for the tokens first. Whatever became of an earlier swap, it either
//! is in the base that is loaded next, or it has lost its own base for good.
//!
//! Commits that wait for one table at the same moment become one snapshot that carries all their tokens
//! ([`Queues`]); each has its own answer.

mod avro_file;
mod avro_name;
mod changes;
mod draft;
mod fence;
mod history;
mod list;
mod manifests;
mod member;
mod queue;
mod run;
mod summary;
mod token;

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::MAIN_BRANCH;
use moulin_core::Token;

use crate::Landed;
pub(crate) use avro_name::has_avro_names;
pub use fence::Fence;
pub(crate) use history::{find_expired, rows_in};
pub(crate) use manifests::manifest_list;
pub(crate) use member::Member;
pub(crate) use queue::Queues;
pub(crate) use token::{Tokens, find, generations, with_property};

/// What becomes of a table in one snapshot, and under which conditions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Commit {
    /// Looked for before every try, and written into the snapshot.
    pub token: Token,
    /// The attempt that commits, counted from 1.
    pub attempt: u32,
    /// The data files that become visible.
    pub added: Landed,
    /// The data files that go, in the same snapshot.
    pub removed: Removed,
    /// More properties of the snapshot's summary.
    pub summary: BTreeMap<String, String>,
    /// Properties of the table that are set.
    pub properties: BTreeMap<String, String>,
    /// The branch that moves to the snapshot. Default `main`; one that is not there begins where `main` stands.
    pub branch: String,
    /// What must hold of the table as it is found.
    pub requires: Vec<Requirement>,
    /// Newer generations of the token's key that this one may land after: they came to what it has landed, and replaced
    /// nothing of it. Default: none.
    pub beside: BTreeSet<u32>,
    /// Asked on every base whether this attempt may still commit. Default: nobody is asked.
    pub fence: Option<Fence>,
}

impl Commit {
    /// A commit to `main` that adds data files and nothing else.
    #[must_use]
    pub fn new(token: Token, attempt: u32, added: Landed) -> Self {
        Self {
            token,
            attempt,
            added,
            removed: Removed::default(),
            summary: BTreeMap::new(),
            properties: BTreeMap::new(),
            branch: MAIN_BRANCH.to_owned(),
            requires: Vec::new(),
            beside: BTreeSet::new(),
            fence: None,
        }
    }

    // What adds files and no more can share a snapshot: readers of changes take an append for what it is.
    fn only_adds(&self) -> bool {
        self.removed.locations.is_empty()
            && self.properties.is_empty()
            && self.requires.iter().all(|r| matches!(r, Requirement::NewestBefore(_)))
            && self.branch == MAIN_BRANCH
    }
}

/// Data files that a commit takes out of the table. All of them must be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Where they are, as the table names them.
    pub locations: BTreeSet<String>,
    /// The snapshot that added them, if that is known: its manifests are looked at first.
    pub added_by: Option<i64>,
}

/// What a commit asks of the table as it is found. One that does not hold ends the commit without another try.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// The branch stands at this snapshot; `None`: it has none.
    Snapshot(Option<i64>),
    /// Of the generations of the commit's own key before its own, this is the newest whose token a snapshot carries, or
    /// an older one; `None`: there is none. So a generation that lands late is not overlooked.
    NewestBefore(Option<u32>),
    /// No other snapshots than these have a commit with this property in its summary.
    OnlyThese {
        /// The property.
        property: &'static str,
        /// Their ids; some may be expired by now.
        snapshots: BTreeSet<i64>,
    },
}

/// A snapshot that carries a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The snapshot.
    pub snapshot_id: i64,
    /// A metadata file of the table that holds it: the commit's own, or the newest when it was found later.
    pub metadata_location: String,
    /// The attempt that committed it.
    pub attempt: u32,
}
