#!/usr/bin/env bash
# Looks at the dependencies' licences, sources and advisories with cargo-deny. What cannot be looked at is said:
# a line that begins with SKIPPED.
#
# The tool is the one in PATH, or one that is built once and kept outside the repository: in
# ${XDG_CACHE_HOME:-$HOME/.cache}/descry/cargo-deny. Building it takes minutes, so that is done only when asked for:
#
#   DESCRY_INSTALL_TOOLS=1 make deny
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
kept=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/descry/cargo-deny/$version

skip() {
  echo "SKIPPED $1: $2"
}

if command -v cargo-deny >/dev/null; then
  deny=cargo-deny
elif [ -x "$kept/bin/cargo-deny" ]; then
  deny=$kept/bin/cargo-deny
elif [ "${DESCRY_INSTALL_TOOLS:-}" != 1 ]; then
  skip "cargo deny" "it is not installed; DESCRY_INSTALL_TOOLS=1 make deny builds it once"
  exit 0
# It runs for seconds, so optimising it would cost more than it gains.
elif CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version "$version" --locked --debug --root "$kept"; then
  deny=$kept/bin/cargo-deny
else
  skip "cargo deny" "it cannot be built from the registry"
  exit 0
fi

"$deny" --locked check licenses bans sources
# The advisories are a Git repository elsewhere, which not every machine reaches.
if reason=$(timeout 120 "$deny" fetch db 2>&1); then
  "$deny" check --disable-fetch advisories
else
  skip "cargo deny advisories" "their database cannot be fetched: $(tail -n 1 <<<"$reason")"
fi
