#!/usr/bin/env bash
# Stands in for rustc on the crates of this workspace (RUSTC_WORKSPACE_WRAPPER) and lints them.
#
# `cargo clippy` would first check every third-party crate a second time, in a graph of its own. As a wrapper under
# `cargo build` clippy uses the libraries that the build has made already. What it makes itself is never run, so it
# is neither optimised nor linked; cargo keeps it apart from the build by the wrapper's path.
set -euo pipefail
exec clippy-driver "$@" -Copt-level=0 -Clinker=true -Cstrip=none
