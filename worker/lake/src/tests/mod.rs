//! The lake against real files and real catalogs.

mod catalogs;
mod commits;
mod fixture;
mod partitions;
mod postgres;
mod round_trip;
mod tables;
