mod build;
mod conformance;
mod interleaving;
mod many_workers;
mod postgres;
mod sqlite;
