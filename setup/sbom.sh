#!/usr/bin/env bash
# Writes what each program is made of, as CycloneDX 1.5 in JSON, with cargo-cyclonedx: sbom/PROGRAM.cdx.json. Where the tool is
# not there, a line that begins with SKIPPED says so.
#
#   DESCRY_INSTALL_TOOLS=1 make sbom
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/kept-tool.sh

find_tool cargo-cyclonedx 0.5.9
mkdir -p sbom
for member in cli encoder-service search-service; do
  "$tool" cyclonedx --manifest-path "$member/Cargo.toml" --format json --spec-version 1.5 --describe binaries --quiet
done
# The tool writes beside the manifests.
find . -path ./target -prune -o -name '*.cdx.json' -not -path './sbom/*' -exec mv {} sbom/ \;
ls sbom
