#!/usr/bin/env bash
# Writes the generated code of proto/: worker/wire/src/generated (Rust), client/src/moulin/v1 (Python), and of its
# comments the builders of the client and docs/reference.
#
#   scripts/gen.sh           write it
#   scripts/gen.sh --check   write nothing; fail when what is committed differs from what proto/ says
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly RUST_OUT=worker/wire/src/generated

generate_rust() { # generate_rust <output folder>
  cargo run --quiet --release --locked --manifest-path tools/protogen/Cargo.toml -- proto "$1"
}

check_rust() {
  local scratch
  scratch="$(mktemp -d)"
  # shellcheck disable=SC2064  # the folder of now, not of exit time
  trap "rm -rf '$scratch'" RETURN
  generate_rust "$scratch"
  diff -rq "$scratch" "$RUST_OUT" >&2 || {
    echo "the generated Rust code is not what proto/ says; run \`make gen\`" >&2
    return 1
  }
}

main() {
  export PYTHON="$PWD/.venv/bin/python"
  if [[ "${1:-}" == --check ]]; then
    check_rust
    scripts/gen_python.sh --check
    "$PYTHON" scripts/gen_reference.py --check
  else
    generate_rust "$RUST_OUT"
    scripts/gen_python.sh
    "$PYTHON" scripts/gen_reference.py
  fi
}

main "$@"
