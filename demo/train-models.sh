#!/usr/bin/env bash
# Trains the demo's kind of models from nothing: a CLIP, then DM-Adapter and UP-Person on it; exports and measures all.
#
#   demo/train-models.sh [OUT [DATA]]     OUT: folder for everything, default runs/demo-models
#                                         DATA: a data set in CUHK-PEDES' layout, default one that is drawn
#
# DESCRY names the program, EPOCHS shortens all runs, IDENTITIES is the number of people that are drawn. Paths are seen
# from the repository. Started again, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
descry=${DESCRY:-./target/release/descry}
out=${1:-runs/demo-models}
data=${2:-$out/data}
epochs=${EPOCHS:+--epochs $EPOCHS}

if [ $# -lt 2 ]; then
  [ -e "$data/reid_raw.json" ] || "$descry" synth --identities "${IDENTITIES:-1500}" --out "$data"
elif [ ! -d "$data" ]; then
  echo "$data: no such data set" >&2
  exit 1
fi

# train NAME ARGUMENTS...: starts a run, or goes on with it.
train() {
  local name=$1
  shift
  if [ -e "$out/$name/run.json" ]; then
    "$descry" train --resume "$out/$name"
  else
    # The demo's vocabulary is small, so the drawn captions need more than the preset's 56 ids.
    # shellcheck disable=SC2086
    "$descry" train --preset small --dataset cuhk-pedes --root "$data" --out "$out/$name" $epochs \
      --set input.context_length=77 "$@"
  fi
}

base=$out/clip/best.safetensors
train clip --method clip --tokenizer demo/tokenizer.json
train dm-adapter --method dm-adapter --base "$base" --set checkpoint.half_weights=true
train up-person --method up-person --base "$base" --set checkpoint.half_weights=true
for name in clip dm-adapter up-person; do
  "$descry" export --checkpoint "$out/$name/best.safetensors" --out "$out/bundles/$name"
  "$descry" eval --model "$out/bundles/$name" --dataset cuhk-pedes --root "$data"
done
