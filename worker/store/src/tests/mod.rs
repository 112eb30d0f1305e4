mod build;
#[macro_use]
mod conformance;
mod claiming;
mod interleaving;
mod loads;
mod many_workers;
mod postgres;
mod sqlite;
