//! The `moulin` binary.
//!
//! `main` is a list; start reading at [`job::run`] for what a worker does with a job, at [`service`] for what it
//! answers, at [`config`] for what it can be told.

mod cli;
mod config;
mod job;
mod memory;
mod output;
mod query;
mod remote;
mod service;
mod spill;
mod telemetry;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;

/// Lets this process have as many files open as the system allows it: sessions and services begin with 1,024, which
/// are for programs that wait with `select`, and each thread that lands partitions has up to 64 open.
#[cfg(unix)]
fn allow_open_files() {
    const ENOUGH: libc::rlim_t = 1 << 16;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[allow(unsafe_code, reason = "calls of the C library")]
    // SAFETY: both take a place that outlives them. Where they fail, everything stays as it was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < ENOUGH {
            limit.rlim_cur = limit.rlim_max.min(ENOUGH);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

#[cfg(not(unix))]
fn allow_open_files() {}

fn main() -> ExitCode {
    memory::prepare();
    allow_open_files();
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
