//! The lake against real files and real catalogs.

mod catalogs;
mod commits;
mod evolving;
pub(crate) mod fixture;
mod groups;
mod growth;
mod partitions;
mod postgres;
mod properties;
mod renewed;
mod replacing;
mod round_trip;
mod scans;
mod sorting;
mod tables;
