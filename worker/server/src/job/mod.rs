//! What a worker does with jobs.
//!
//! [`admit`] says what a job would do before it is taken, [`queue`] claims jobs, [`lease`] keeps one while it runs,
//! [`loads`] says which of its files it takes,
//! [`run`] knows the order of the rooms, [`settle`] does everything around the commit that must survive a crash,
//! [`redo`] knows what an earlier generation has landed.

pub(crate) mod admit;
pub(crate) mod lease;
pub(crate) mod loads;
pub(crate) mod orphans;
pub(crate) mod queue;
pub(crate) mod redo;
pub(crate) mod rejects;
pub(crate) mod rejects_table;
pub(crate) mod run;
pub(crate) mod settle;
pub(crate) mod tables;
