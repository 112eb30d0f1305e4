//! The lake against real files and a real SQLite catalog.

mod commits;
mod fixture;
mod partitions;
mod round_trip;
mod tables;
