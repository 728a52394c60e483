#!/usr/bin/env bash
# Checks Descry on an NVIDIA GPU: parity, failures, limits, throughput and training steps, into one JSON file.
#
#   gpu/check.sh --library DIR_OR_FILE [--device cuda|cpu] [--bin DIR] [--bundle DIR]... [--out FILE] [--only STEP,...] [--quick]
#
# --library   ONNX Runtime's library for the device: libonnxruntime.so*, or a folder with it and its providers. Files too
#             large to be carried whole may lie there in parts, NAME.part-00, NAME.part-01, ...; they are joined beside them.
# --device    what to check; `cpu` rehearses the same steps on a machine without a GPU.
# --bin       folder of descry and descry-lab, built with --features descry-lab/cuda for training [target/release].
# --bundle    model bundle; may be given several times. Without any, bundles of a random ViT-B/16 are made for the check.
# --only      some of: environment, missing, parity, auto, memory, towers, service, training.
# --quick     few sizes and short runs: a rehearsal, no measurement.
#
# Exits with 0 when every check held, 1 when one did not, 2 for a mistake in the arguments. What is measured is never a
# failure: the targets stand in the JSON beside what was found.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
library="" device=cuda bin="$root/target/release" out=gpu-check.json
arguments=()

usage() {
    sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case "$1" in
        --library | --device | --bin | --bundle | --out | --only)
            [ $# -ge 2 ] || { echo "$1 needs a value" >&2; usage; }
            case "$1" in
                --library) library=$2 ;;
                --device) device=$2 ;;
                --bin) bin=$2 ;;
                --out) out=$2 ;;
                *) arguments+=("$1" "$2") ;;
            esac
            shift 2
            ;;
        --quick) arguments+=("$1"); shift ;;
        *) echo "unknown argument: $1" >&2; usage ;;
    esac
done
[ -n "$library" ] || { echo "--library is missing" >&2; usage; }
case "$device" in cuda | cpu) ;; *) echo "--device is cuda or cpu" >&2; usage ;; esac
[ -e "$library" ] || { echo "$library is not there" >&2; exit 2; }

# Joins NAME.part-* to NAME, unless that was done before with the same bytes.
join_parts() {
    local folder=$1 first name part next=0
    local -a parts
    for first in "$folder"/*.part-00; do
        [ -e "$first" ] || continue
        name=${first%.part-00}
        parts=("$name".part-*)
        for part in "${parts[@]}"; do
            # A part that is missing in between would make a library that loads and then breaks.
            [ "$part" = "$(printf '%s.part-%02d' "$name" "$next")" ] || { echo "a part is missing before $part" >&2; exit 2; }
            next=$((next + 1))
        done
        next=0
        if [ ! -e "$name" ] || [ "$(cat "${parts[@]}" | sha256sum)" != "$(sha256sum < "$name")" ]; then
            cat "${parts[@]}" > "$name.joining"
            mv "$name.joining" "$name"
        fi
    done
}

if [ -d "$library" ]; then
    join_parts "$library"
    found=$(find "$library" -maxdepth 1 -name 'libonnxruntime.so*' ! -name '*.part-*' | sort | head -n 1)
    [ -n "$found" ] || { echo "$library has no libonnxruntime.so" >&2; exit 2; }
    library=$found
fi
for program in descry descry-lab; do
    [ -x "$bin/$program" ] || { echo "$bin/$program is not there: cargo build --release -p descry -p descry-lab" >&2; exit 2; }
done

exec python3 "$here/check.py" --library "$(realpath "$library")" --device "$device" --bin "$(realpath "$bin")" \
    --out "$out" "${arguments[@]+"${arguments[@]}"}"
