//! The `moulin` binary.
//!
//! `main` is a list; start reading at [`job::run`] for what a worker does with a job, at [`service`] for what it
//! answers, at [`config`] for what it can be told.

mod cli;
mod config;
mod job;
mod output;
mod query;
mod remote;
mod service;
mod telemetry;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;

// Parsing and encoding allocate in many threads: measured against the system's allocator in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    // Two rustls providers are in the graph (ring, aws-lc-rs); rustls asks that one is chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli::run(args) {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("error: {}", fault.report());
            cli::exit_code(&fault)
        }
    }
}
