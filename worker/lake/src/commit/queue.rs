//! Commits of one process to one table: those that wait at the same moment become one snapshot.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use moulin_core::TableName;
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::{Committed, Member, run};
use crate::catalog::Catalog;
use crate::{Error, warehouse::Warehouse};

/// Commits in one snapshot: a bound for its summary.
const GROUP: usize = 64;

/// The commits that wait, table by table.
#[derive(Debug, Default)]
pub(crate) struct Queues(Mutex<HashMap<TableName, Arc<Queue>>>);

#[derive(Debug, Default)]
struct Queue {
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    member: Member,
    answer: oneshot::Sender<Result<Committed, Error>>,
}

impl Queues {
    /// Commits, together with whatever else waits for the table when its turn comes.
    pub(crate) async fn commit(
        &self,
        catalog: &Catalog,
        warehouse: &Warehouse,
        member: Member,
    ) -> Result<Committed, Error> {
        let (table, token) = (member.target.table.clone(), member.commit.token.clone());
        let queue = self.queue(&table);
        let (answer, answered) = oneshot::channel();
        queue.waiting().push_back(Waiting { member, answer });
        // A task of its own: a caller that goes away harms nobody who waits with it. Each task serves a group, and there
        // is one for every commit, so that none is left waiting.
        let (catalog, warehouse, name) = (catalog.clone(), warehouse.clone(), table.clone());
        let task = async move {
            let _turn = queue.turn.lock().await;
            queue.serve(&catalog, &warehouse, &name).await;
        };
        tokio::spawn(task.in_current_span());
        answered.await.unwrap_or_else(|_| {
            let lost = Error::TaskLost { task: "a commit", source: None };
            Err(Error::CommitUnknown { table, token, source: Box::new(lost) })
        })
    }

    fn queue(&self, table: &TableName) -> Arc<Queue> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Tables that nobody commits to now are forgotten.
        queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        queues.entry(table.clone()).or_default().clone()
    }
}

impl Queue {
    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, catalog: &Catalog, warehouse: &Warehouse, table: &TableName) {
        let group = next_group(&mut self.waiting());
        if group.is_empty() {
            return;
        }
        let (members, answers): (Vec<_>, Vec<_>) = group.into_iter().map(|w| (w.member, w.answer)).unzip();
        if members.len() > 1 {
            tracing::debug!(%table, commits = members.len(), "committing together");
        }
        let results = run::run(catalog, warehouse, table, &members).await;
        for (result, answer) in results.into_iter().zip(answers) {
            // Nobody waits any more: the next attempt finds the token.
            let _ = answer.send(result);
        }
    }
}

/// The first that waits, and those behind it that may share its snapshot: they only add files, and no two are of one key.
fn next_group(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut group: Vec<Waiting> = Vec::new();
    while let Some(next) = waiting.front() {
        let key = next.member.commit.token.key();
        let fits = group.first().is_none_or(|first| first.member.only_adds() && next.member.only_adds())
            && group.iter().all(|other| other.member.commit.token.key() != key)
            && group.len() < GROUP;
        if !fits {
            break;
        }
        group.extend(waiting.pop_front());
    }
    group
}
