#!/usr/bin/env bash
# Runs one fuzz target of the readers: scripts/fuzz.sh TARGET SECONDS. The corpus stays in fuzz/corpus, an input that
# breaks an invariant in fuzz/artifacts.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly CARGO_FUZZ=0.13.2
readonly TARGET="$1" SECONDS_TO_RUN="$2"
# Built with sanitizers by another compiler: never into the folder of the workspace.
readonly BUILD="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
readonly TOOLS="${CARGO_TARGET_DIR:-$PWD/target}/tools"
unset CARGO_TARGET_DIR

export PATH="$TOOLS/bin:$PATH"
if [[ "$(cargo fuzz --version 2>/dev/null)" != "cargo-fuzz $CARGO_FUZZ" ]]; then
  echo "installing cargo-fuzz $CARGO_FUZZ into $TOOLS (a minute, once)"
  cargo install --quiet --locked --debug --root "$TOOLS" "cargo-fuzz@$CARGO_FUZZ"
fi
cd fuzz
exec cargo +nightly fuzz run --fuzz-dir . --target-dir "$BUILD" "$TARGET" -- \
  -max_total_time="$SECONDS_TO_RUN" -max_len=1024 -timeout=30 -rss_limit_mb=2048 "-dict=dictionaries/$TARGET"
