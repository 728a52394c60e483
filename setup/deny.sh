#!/usr/bin/env bash
# Looks at the dependencies' licences, sources and advisories with cargo-deny. What cannot be looked at is said:
# a line that begins with SKIPPED.
#
#   DESCRY_INSTALL_TOOLS=1 make deny
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/kept-tool.sh

find_tool cargo-deny 0.20.2
"$tool" --locked check licenses bans sources
# The advisories are a Git repository elsewhere, which not every machine reaches.
if reason=$(timeout 120 "$tool" fetch db 2>&1); then
  "$tool" check --disable-fetch advisories
else
  skip "cargo deny advisories" "their database cannot be fetched: $(tail -n 1 <<<"$reason")"
fi
