#!/usr/bin/env bash
# Trains the demo's kind of models from nothing: a CLIP, then DM-Adapter and UP-Person on it; exports and measures all.
#
#   demo/train-models.sh [OUT [DATA]]     OUT: folder for everything, default runs/demo-models
#                                         DATA: a data set in CUHK-PEDES' layout, default one that is drawn
#
# The best epoch is chosen on the split `val`, so the measurement on `test` at the end is of people that decided nothing.
# DATA must have both. Started again, it goes on with the runs where they were.
#
# From the environment: DESCRY names the program; IDENTITIES is the number of people that are drawn, EPOCHS that of the
# epochs of every run. Paths are seen from the repository.
set -euo pipefail
unset CDPATH
# A program that comes to its end in spite of Ctrl-C must not let the next one start.
trap 'exit 130' INT
cd "$(dirname "$0")/.."
descry=${DESCRY:-./target/release/descry}
out=${1:-runs/demo-models}
data=${2:-}

if [ -n "$data" ] && [ ! -d "$data" ]; then
  echo "$data: no such data set" >&2
  exit 1
fi

# What was begun is not mixed with what is asked for now.
mkdir -p "$out"
asked="DATA=$data IDENTITIES=${IDENTITIES:-} EPOCHS=${EPOCHS:-}"
if [ -e "$out/asked" ]; then
  if [ "$(cat "$out/asked")" != "$asked" ]; then
    echo "$out was begun with $(cat "$out/asked"), not with $asked; name another folder, or remove it" >&2
    exit 1
  fi
elif [ -n "$(ls -A "$out")" ]; then
  echo "$out was not begun by this script; name another folder, or empty it" >&2
  exit 1
else
  echo "$asked" > "$out/.asked"
  mv "$out/.asked" "$out/asked"
fi

# The preset's epochs are for 1,200 people to train on. Of drawn ones there are twice as many, and half the epochs: that
# costs the same, and more people teach more than more epochs.
clip_epochs=${EPOCHS:-}
method_epochs=${EPOCHS:-}
if [ -z "$data" ]; then
  data=$out/data
  [ -e "$data/reid_raw.json" ] || "$descry" synth --identities "${IDENTITIES:-3000}" --out "$data"
  clip_epochs=${EPOCHS:-15}
  method_epochs=${EPOCHS:-4}
fi

# train NAME EPOCHS ARGUMENTS...: starts a run, or goes on with it. Without a number of epochs the preset's.
train() {
  local name=$1 epochs=$2
  shift 2
  if [ -e "$out/$name/run.json" ]; then
    "$descry" train --resume "$out/$name"
  else
    # The demo's vocabulary is small, so the drawn captions need more than the preset's 56 ids.
    "$descry" train --preset small --dataset cuhk-pedes --root "$data" --out "$out/$name" ${epochs:+--epochs "$epochs"} \
      --set input.context_length=77 --set evaluation.split=val "$@"
  fi
}

base=$out/clip/best.safetensors
train clip "$clip_epochs" --method clip --tokenizer demo/tokenizer.json
train dm-adapter "$method_epochs" --method dm-adapter --base "$base" --set checkpoint.half_weights=true
train up-person "$method_epochs" --method up-person --base "$base" --set checkpoint.half_weights=true
for name in clip dm-adapter up-person; do
  "$descry" export --checkpoint "$out/$name/best.safetensors" --out "$out/bundles/$name"
  "$descry" eval --model "$out/bundles/$name" --dataset cuhk-pedes --root "$data"
done
echo "models: $out/bundles; into the demo: demo/adopt-models.sh $out"
