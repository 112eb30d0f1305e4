//! The loop around the swap.

use std::sync::Arc;
use std::time::Duration;

use moulin_core::{FaultPoint, TableName};
use rand::Rng as _;

use super::draft::Draft;
use super::{Commit, Committed, Member, find, find_expired};
use crate::catalog::{Catalog, Loaded, Swapped};
use crate::{Error, warehouse::Warehouse};

/// How often a commit is tried against other writers, or after a lost answer.
pub(super) const TRIES: u32 = 20;
const FIRST_WAIT: Duration = Duration::from_millis(20);
// Tests of what happens after the last try do not wait for it.
const LONGEST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 2 } else { 2_000 });

/// Commits all members in one snapshot; one answer for each.
pub(super) async fn run(
    catalog: &Catalog,
    warehouse: &Warehouse,
    table: &TableName,
    members: &[Member],
) -> Vec<Result<Committed, Error>> {
    let mut group = Group { table, members, answers: members.iter().map(|_| None).collect(), lost: None };
    group.run(catalog, warehouse).await;
    let missing = || Err(Error::TaskLost { task: "a commit", source: None });
    group.answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
}

struct Group<'a> {
    table: &'a TableName,
    members: &'a [Member],
    answers: Vec<Option<Result<Committed, Error>>>,
    lost: Option<Lost>,
}

/// A swap whose answer was lost. It may land as long as the table stands at the base it was built on, also after a
/// look that did not find it; a conflict on that base may be its own doing.
struct Lost {
    base: String,
    error: Arc<Error>,
}

impl<'a> Group<'a> {
    async fn run(&mut self, catalog: &Catalog, warehouse: &Warehouse) {
        let table = self.table;
        let mut draft: Option<(Vec<usize>, Draft<'a>)> = None;
        for try_number in 1..=TRIES {
            let base = match catalog.load(table).await {
                Ok(base) => base.ok_or_else(|| Error::NotFound { what: format!("table {table}") }),
                Err(e) => Err(e),
            };
            let base = match (base, &mut self.lost) {
                (Ok(base), _) => base,
                // Nobody can look just now; the table may answer again.
                (Err(error), Some(lost)) => {
                    lost.error = Arc::new(error);
                    wait(try_number).await;
                    continue;
                }
                (Err(error), None) => return self.fail_all(error),
            };
            if let Err(error) = self.look_for_expired(&base, warehouse).await {
                self.lost = self.lost.take().map(|lost| Lost { error: Arc::new(error), ..lost });
                wait(try_number).await;
                continue;
            }
            self.look(&base);
            self.ask_fences().await;
            let open = self.open();
            if open.is_empty() {
                return;
            }
            let (_, draft) = match &mut draft {
                Some(known) if known.0 == open => known,
                other => {
                    let members = open.iter().map(|at| &self.members[*at]).collect();
                    other.insert((open.clone(), Draft::new(table, members)))
                }
            };
            let sent = async {
                let swap = draft.on(&base, warehouse).await?;
                FaultPoint::BeforeCommit.pass();
                catalog.swap(table, &base, &swap).await
            };
            match sent.await {
                Err(error) => {
                    draft.forget_try(warehouse).await;
                    return self.fail_all(error);
                }
                Ok(Swapped::Done(metadata_location)) => {
                    let snapshot_id = draft.snapshot_id();
                    draft.remove_expired(&base, warehouse).await;
                    return self.committed(snapshot_id, &metadata_location);
                }
                Ok(Swapped::Conflict) => {
                    draft.forget_try(warehouse).await;
                    tracing::debug!(%table, try_number, "another writer was first");
                }
                Ok(Swapped::Unknown(error)) => {
                    draft.keep_try();
                    tracing::warn!(%table, try_number, %error, "the answer to a commit was lost");
                    self.lost = Some(Lost { base: base.location, error: Arc::new(error) });
                }
            }
            wait(try_number).await;
        }
        self.fail_all(Error::CommitConflict { table: table.clone(), tries: TRIES });
    }

    /// Answers the members whose swap landed although its answer was lost, and whose snapshot somebody has expired since.
    async fn look_for_expired(&mut self, base: &Loaded, warehouse: &Warehouse) -> Result<(), Error> {
        if self.lost.as_ref().is_none_or(|lost| lost.base == base.location) {
            return Ok(());
        }
        for at in self.open() {
            let Commit { token, attempt, added, .. } = &self.members[at].commit;
            if find(base, token).is_some() {
                continue;
            }
            let named = added.data_files().iter().map(|file| (file.file_path().to_owned(), *attempt)).collect();
            if let Some(found) = find_expired(warehouse, self.table, base, token, &named).await? {
                self.answers[at] = Some(Ok(found));
            }
        }
        Ok(())
    }

    /// Answers the members whose token is in the table, and those that the table does not take.
    fn look(&mut self, base: &Loaded) {
        for (at, member) in self.members.iter().enumerate() {
            if self.answers[at].is_some() {
                continue;
            }
            if let Some(found) = find(base, &member.commit.token) {
                let (table, token, snapshot_id) = (self.table, &member.commit.token, found.snapshot_id);
                tracing::info!(%table, %token, snapshot_id, "the commit is already there");
                self.answers[at] = Some(Ok(found));
            }
        }
        self.lost = self.lost.take().filter(|lost| lost.base == base.location);
        let (mut now, mut last_id) = (base.metadata.current_schema().clone(), base.metadata.last_column_id());
        for (at, member) in self.members.iter().enumerate() {
            if self.answers[at].is_some() {
                continue;
            }
            let checked = member.check(self.table, base);
            match checked.and_then(|()| member.reconciled(self.table, &now, last_id)) {
                Ok(Some(next)) => {
                    last_id = last_id.max(next.highest_field_id());
                    now = next.into();
                }
                Ok(None) => {}
                Err(error) => self.fail(at, Arc::new(error)),
            }
        }
    }

    // Not before the base is loaded: that order is what makes a fence one.
    async fn ask_fences(&mut self) {
        for at in self.open() {
            if let Some(fence) = &self.members[at].commit.fence
                && let Err(fault) = fence.ask().await
            {
                self.fail(at, Arc::new(Error::Refused { fault: Box::new(fault) }));
            }
        }
    }

    fn open(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|at| self.answers[*at].is_none()).collect()
    }

    fn committed(&mut self, snapshot_id: i64, metadata_location: &str) {
        for at in self.open() {
            let Commit { attempt, attempt_id, .. } = &self.members[at].commit;
            let (attempt, attempt_id) = (*attempt, Some(attempt_id.clone()));
            let metadata_location = metadata_location.to_owned();
            self.answers[at] = Some(Ok(Committed { snapshot_id, metadata_location, attempt, attempt_id }));
        }
    }

    fn fail_all(&mut self, error: Error) {
        let error = Arc::new(error);
        for at in self.open() {
            self.fail(at, Arc::clone(&error));
        }
    }

    // What ends a try is the commit's own end only if no earlier swap can still land.
    fn fail(&mut self, at: usize, error: Arc<Error>) {
        let (table, token) = (self.table.clone(), self.members[at].commit.token.clone());
        let error = match &self.lost {
            Some(lost) => {
                Error::CommitUnknown { table, token, source: Box::new(Error::Shared(Arc::clone(&lost.error))) }
            }
            None => Arc::try_unwrap(error).unwrap_or_else(Error::Shared),
        };
        self.answers[at] = Some(Err(error));
    }
}

// Full jitter: writers that met once should not meet again.
async fn wait(try_number: u32) {
    let most = LONGEST_WAIT.min(FIRST_WAIT * 2u32.saturating_pow(try_number.min(16)));
    let wait = rand::rng().random_range(Duration::ZERO..most);
    tokio::time::sleep(wait).await;
}
