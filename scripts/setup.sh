#!/usr/bin/env bash
# Makes the virtual environment .venv of this clone: the packages of requirements/dev.txt and, editable, the client
# and the Airflow provider. Does nothing when all of that is there already.
#
#   scripts/setup.sh           make it or bring it up to date
#   scripts/setup.sh --lock    write requirements/*.txt anew from requirements/*.in
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly UV_VERSION=0.13.8
readonly STAMP="$VENV/moulin-setup"
readonly EDITABLE=(client airflow_provider)

# uv brings its own list of authorities; a machine whose registry has one of its own keeps that with the system's.
if [[ -s /etc/ssl/certs/ca-certificates.crt || -s /etc/pki/tls/certs/ca-bundle.crt ]]; then
  export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
fi

say() { echo "setup: $*" >&2; }

fail() {
  say "$1"
  shift
  for line in "$@"; do say "  $line"; done
  exit 1
}

# A name on the PATH is not enough: pyenv puts shims there for versions that are not selected.
is_usable_python() {
  "$1" -c 'import sys; raise SystemExit(not ((3, 11) <= sys.version_info < (3, 14)))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
    if [[ -n "$candidate" ]] && is_usable_python "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  fail "no Python 3.11, 3.12 or 3.13 was found (looked for \$PYTHON, python3.13, python3.12, python3.11, python3)" \
    "install one, or name it: make PYTHON=/path/to/python3.12 ..."
}

# What decides whether the environment is up to date: the lock, the metadata of the editable packages, where the
# clone is (scripts of a virtual environment hold absolute paths), and this script.
wanted_stamp() {
  {
    pwd
    cat "${BASH_SOURCE[0]}" requirements/dev.txt
    local package
    for package in "${EDITABLE[@]}"; do
      cat "$package/pyproject.toml"
    done
  } | cksum
}

make_venv() {
  local python
  python="$(find_python)"
  say "making $VENV with $("$python" --version) ($python)"
  rm -rf "$VENV"
  "$python" -m venv "$VENV" >/dev/null || {
    rm -rf "$VENV"
    fail "$python cannot make a virtual environment" "on Debian and Ubuntu: apt-get install python3-venv"
  }
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
}

has_tools() {
  [[ -x "$VENV/bin/python" && -x "$VENV/bin/uv" ]] && is_usable_python "$VENV/bin/python" &&
    [[ "$("$VENV/bin/uv" --version 2>/dev/null)" == "uv $UV_VERSION"* ]]
}

install_packages() {
  say "installing the packages of requirements/dev.txt (seconds when they are cached, a minute when not)"
  local editable=() package
  for package in "${EDITABLE[@]}"; do
    editable+=(--editable "$package")
  done
  "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --requirement requirements/dev.txt
  # The lock holds what they depend on and what builds them; the check below says when it no longer does.
  "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" --no-build-isolation --no-deps "${editable[@]}"
  "$VENV/bin/uv" pip check --quiet --python "$VENV/bin/python" || {
    "$VENV/bin/uv" pip check --python "$VENV/bin/python" || true
    fail "requirements/dev.txt does not hold what client/ and airflow_provider/ ask for" \
      "add it to requirements/dev.in and run: scripts/setup.sh --lock"
  }
}

lock() {
  has_tools || make_venv
  local compile=("$VENV/bin/uv" pip compile --quiet --universal --python-version 3.11 --upgrade
    --custom-compile-command "scripts/setup.sh --lock")
  "${compile[@]}" --output-file requirements/dev.txt requirements/dev.in
  # Binaries that nothing else vouches for: each with its checksum.
  local name
  for name in engines dlt; do
    "${compile[@]}" --generate-hashes --output-file "requirements/$name.txt" "requirements/$name.in"
  done
}

main() {
  if [[ "${1:-}" == --lock ]]; then
    lock
    return
  fi
  if has_tools && [[ -f "$STAMP" && "$(cat "$STAMP")" == "$(wanted_stamp)" ]]; then
    return
  fi
  rm -f "$STAMP"
  has_tools || make_venv
  install_packages
  wanted_stamp > "$STAMP"
  say "$VENV is ready"
}

main "$@"
