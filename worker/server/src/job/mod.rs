//! What a worker does with jobs.
//!
//! [`admit`] says what a job would do before it is taken, [`queue`] claims jobs, [`lease`] keeps one while it runs,
//! [`run`] knows the order of the rooms, [`settle`] does everything around the commit that must survive a crash,
//! [`redo`] knows what an earlier generation has landed.

pub(crate) mod admit;
pub(crate) mod lease;
pub(crate) mod queue;
pub(crate) mod redo;
pub(crate) mod rejects;
pub(crate) mod run;
pub(crate) mod settle;
