#!/usr/bin/env bash
# Throws bytes at one reader, or at each in turn, for so many seconds:
#
#   fuzz/run.sh SECONDS [TARGET...]
#
# Needs a C++ compiler and nothing else: the counters come from the stable compiler. What breaks a reader is left in
# fuzz/findings, and the command fails. What was learnt stays in fuzz/learnt, outside the repository. With a nightly compiler
# and cargo-fuzz, `cargo fuzz run TARGET` does the same with address checks.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for file in fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
RUSTFLAGS=$flags cargo build --quiet --release --target "$host" ${targets[@]/#/--bin=}

failed=()
for target in "${targets[@]}"; do
  mkdir -p "learnt/$target" "corpus/$target" findings
  echo "$target: $seconds s"
  "$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="findings/$target-" "learnt/$target" "corpus/$target" 2>"findings/$target.log" ||
    failed+=("$target")
  grep -E "^stat::(number_of_executed_units|peak_rss_mb)|DONE|SUMMARY|panicked" "findings/$target.log" || true
done
[ ${#failed[@]} -eq 0 ] || { echo "broken: ${failed[*]}; see fuzz/findings"; exit 1; }
