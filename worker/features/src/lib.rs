//! One feature set for the whole workspace.
//!
//! Cargo unifies features over the packages named in one command, so `cargo test -p moulin-lake` would
//! compile Arrow, Parquet and tokio again with other features than `cargo build` did. Every crate depends on
//! this one, which depends on every third-party crate with the features of `[workspace.dependencies]`:
//! whatever is built, the third-party graph is the same and is compiled once. It holds no code.
