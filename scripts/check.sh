#!/usr/bin/env bash
# Everything that can be checked without running a test. Goes on after a failure and ends with the list of them.
#
#   scripts/check.sh            all checks
#   scripts/check.sh ruff mypy  only these
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly ROOT="$PWD"
readonly BIN="$ROOT/.venv/bin"
readonly CARGO_DENY=0.20.2
export PATH="$ROOT/.venv/bin:$PATH"

# clippy's pedantic lints, less those that would make this code longer and no better.
readonly CLIPPY_LINTS=(
  -Dwarnings -Wclippy::pedantic
  # Counts, sizes and offsets are bounded where they are made; a checked cast at each use would hide that.
  -Aclippy::cast_possible_truncation -Aclippy::cast_possible_wrap -Aclippy::cast_precision_loss -Aclippy::cast_sign_loss
  # Measured: the inner loops of reader and writer need it.
  -Aclippy::inline_always
  # Matters of taste on which the code decides case by case.
  -Aclippy::assigning_clones -Aclippy::default_trait_access -Aclippy::duration_suboptimal_units
  -Aclippy::format_collect -Aclippy::format_push_string -Aclippy::from_iter_instead_of_collect
  -Aclippy::items_after_statements -Aclippy::many_single_char_names -Aclippy::match_bool -Aclippy::match_same_arms
  -Aclippy::large_enum_variant -Aclippy::manual_checked_ops -Aclippy::needless_for_each -Aclippy::nonminimal_bool
  -Aclippy::similar_names -Aclippy::single_match_else -Aclippy::struct_excessive_bools
  # An argument that is consumed in meaning, or a signature that a trait or serde asks for.
  -Aclippy::needless_pass_by_value -Aclippy::ref_option -Aclippy::trivially_copy_pass_by_ref
  -Aclippy::unnecessary_wraps -Aclippy::unused_self
  # Uris: the ending of a name has a case.
  -Aclippy::case_sensitive_file_extension_comparisons
  # Only in tests, on times that the test made.
  -Aclippy::unchecked_time_subtraction
)

# Third-party code is taken from the one release build; see scripts/clippy-driver.sh.
check_clippy() {
  local joined
  joined="$(printf '%s__CLIPPY_HACKERY__' "${CLIPPY_LINTS[@]}")"
  RUSTC_WORKSPACE_WRAPPER="$ROOT/scripts/clippy-driver.sh" CLIPPY_CONF_DIR="$ROOT" CLIPPY_ARGS="$joined" \
    "$BIN/python" scripts/build.py build --release --workspace --lib --tests --locked --keep-going
}

check_rustfmt() {
  cargo fmt --all --check && cargo fmt --manifest-path tools/protogen/Cargo.toml --check &&
    cargo fmt --manifest-path fuzz/Cargo.toml --check
}

# Licences, sources, and one Arrow (deny.toml).
check_deny() {
  local tools="${CARGO_TARGET_DIR:-$ROOT/target}/tools" deny
  deny="$(command -v cargo-deny || echo "$tools/bin/cargo-deny")"
  if [[ "$("$deny" --version 2>/dev/null)" != "cargo-deny $CARGO_DENY" ]]; then
    echo "installing cargo-deny $CARGO_DENY into $tools (about a minute, once)"
    # In a folder of its own: a debug build must not go into the target folder of the workspace.
    env -u CARGO_TARGET_DIR cargo install --quiet --locked --debug --root "$tools" "cargo-deny@$CARGO_DENY" || return
    deny="$tools/bin/cargo-deny"
  fi
  "$deny" --log-level error check --hide-inclusion-graph licenses bans sources || return
  local said
  if said="$(timeout 120 "$deny" --log-level error check --hide-inclusion-graph advisories 2>&1)"; then
    echo "no advisory of rustsec.org is about these crates"
  elif [[ "$said" == *"failed to fetch advisory database"* ]]; then
    echo "advisories were NOT checked: the database of rustsec.org is out of reach"
  else
    echo "$said"
    return 1
  fi
}

check_generated() { scripts/gen.sh --check; }

check_proto() { "$BIN/python" scripts/check_proto.py; }

check_ruff() { "$BIN/ruff" check --quiet . && "$BIN/ruff" format --check --quiet . || {
  echo "run \`make fmt\`; what stays is listed above or by \`ruff check\`"
  return 1
}; }

check_mypy() {
  local package code=0
  for package in client airflow_provider .; do
    (cd "$package" && "$BIN/mypy") || code=1
  done
  return "$code"
}

check_shell() {
  local script
  for script in scripts/*.sh .ci/run; do
    bash -n "$script" || return
  done
}

check_links() { "$BIN/python" scripts/check_links.py; }

# Quick ones first.
readonly ALL=(shell links proto rustfmt ruff mypy generated deny clippy)

main() {
  local wanted=("$@") failed=() name started
  ((${#wanted[@]})) || wanted=("${ALL[@]}")
  for name in "${wanted[@]}"; do
    if ! declare -F "check_$name" >/dev/null; then
      echo "there is no check \`$name\`; there are ${ALL[*]}" >&2
      return 2
    fi
    echo "== $name"
    started=$SECONDS
    "check_$name" || failed+=("$name")
    echo "== $name: $((SECONDS - started)) s"
  done
  if ((${#failed[@]})); then
    echo "check: ${failed[*]} failed"
    return 1
  fi
  echo "check: all in order (${wanted[*]})"
}

main "$@"
