//! What a worker does with jobs.
//!
//! [`admit`] says what a job would do before it is taken, [`queue`] claims jobs, [`presence`] knows who else does,
//! [`lease`] keeps one while it runs,
//! [`loads`] says which of its files it takes,
//! [`run`] knows the order of the rooms, [`land`] goes through them to data files, [`settle`] does everything around the commit that must survive a crash,
//! [`redo`] knows what an earlier generation has landed, [`generations`] which one must not land any more, [`replay`] which rejects are read again. What becomes of rejects
//! that are in their table already is judged by [`rejects_rows`] and done by [`rejects_commit`].

mod accounting;
pub(crate) mod admit;
mod ending;
mod generations;
mod land;
pub(crate) mod lease;
pub(crate) mod loads;
pub(crate) mod orphans;
mod other_replays;
pub(crate) mod presence;
pub(crate) mod queue;
pub(crate) mod redo;
pub(crate) mod rejects;
mod rejects_commit;
mod rejects_rows;
pub(crate) mod rejects_table;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod settle;
mod staging;
pub(crate) mod tables;
