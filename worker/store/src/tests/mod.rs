mod build;
mod conformance;
mod interleaving;
mod sqlite;
