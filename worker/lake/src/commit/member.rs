//! One commit of a group, with the table it was written for.

use iceberg::spec::SchemaRef;
use moulin_core::TableName;

use super::{Commit, Requirement, generations, with_property};
use crate::catalog::Loaded;
use crate::{Error, Target, schema};

/// A commit and what it was written for.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) target: Target,
    pub(crate) commit: Commit,
}

impl Member {
    /// Whether the commit may be tried on this base; looks at nothing but it.
    pub(super) fn check(&self, table: &TableName, base: &Loaded) -> Result<(), Error> {
        if base.metadata.uuid() != self.target.metadata.uuid() {
            return Err(Error::NotFound {
                what: format!("the table {table} that the job began with (another one has its name)"),
            });
        }
        let token = &self.commit.token;
        if let Some(own) = token.generation()
            && let Some((newer, snapshot_id)) =
                generations(base, token).find(|(other, _)| *other > own && !self.commit.beside.contains(other))
        {
            return Err(Error::Superseded { table: table.clone(), token: token.clone(), newer, snapshot_id });
        }
        self.commit.requires.iter().try_for_each(|requirement| self.holds(requirement, table, base))
    }

    fn holds(&self, requirement: &Requirement, table: &TableName, base: &Loaded) -> Result<(), Error> {
        let moved = |found: String| Err(Error::Moved { table: table.clone(), found });
        match requirement {
            Requirement::Snapshot(expected) => {
                let found = base.metadata.snapshot_for_ref(&self.commit.branch).map(|snapshot| snapshot.snapshot_id());
                if found == *expected {
                    return Ok(());
                }
                let text = |id: Option<i64>| id.map_or("no snapshot".to_owned(), |id| format!("snapshot {id}"));
                moved(format!("{} stands at {}, not at {}", self.commit.branch, text(found), text(*expected)))
            }
            Requirement::NewestBefore(known) => {
                let token = &self.commit.token;
                let Some(own) = token.generation() else { return Ok(()) };
                let newest = generations(base, token).map(|(other, _)| other).filter(|other| *other < own).max();
                if newest <= *known {
                    return Ok(());
                }
                let newest = newest.unwrap_or_default();
                moved(format!("generation {newest} of the job landed meanwhile"))
            }
            Requirement::OnlyThese { property, snapshots } => {
                let mut others = with_property(&base.metadata, property).filter(|(_, id, _)| !snapshots.contains(id));
                others
                    .next()
                    .map_or(Ok(()), |(token, id, _)| moved(format!("{token} landed meanwhile, in snapshot {id}")))
            }
        }
    }

    /// The schema with what the member's files need; `None`: it has everything.
    pub(super) fn reconciled(
        &self,
        table: &TableName,
        now: &SchemaRef,
        last_id: i32,
    ) -> Result<Option<iceberg::spec::Schema>, Error> {
        let wanted = self.target.metadata.current_schema();
        schema::reconcile(now, last_id, wanted, self.target.evolved).map_err(|found| Error::Moved {
            table: table.clone(),
            found: format!("its schema was changed meanwhile: {found}"),
        })
    }

    pub(super) fn only_adds(&self) -> bool {
        self.commit.only_adds()
    }
}
