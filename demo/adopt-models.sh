#!/usr/bin/env bash
# Takes gallery and checkpoints of a finished `make demo-models` on drawn people over into the demo.
#
#   demo/adopt-models.sh [OUT [DEMO]]     OUT: its folder, default runs/demo-models
#                                         DEMO: where to, default demo
#
# PEOPLE is the number of people in the gallery, 50 unless given.
#
# tests/golden/demo holds what PyTorch computes from the checkpoints in demo, and tests/e2e names people of its gallery:
# who takes others over has to renew both, the first with tests/golden/generate_demo.py.
set -euo pipefail
unset CDPATH
cd "$(dirname "$0")/.."
out=${1:-runs/demo-models}
demo=${2:-demo}
for method in dm-adapter up-person; do
  # Bundles are made after all training.
  if [ ! -e "$out/bundles/$method/manifest.json" ]; then
    echo "$out is not finished; run make demo-models again" >&2
    exit 1
  fi
done
# First, because it can refuse.
python3 demo/pick_gallery.py "$out/data" "$demo" --people "${PEOPLE:-50}"
for method in dm-adapter up-person; do
  name=${method//-/_}
  cp "$out/$method/best.safetensors" "$demo/$name.safetensors"
  # Without the places of the training machine.
  grep -vE '^(root_dir|output_dir|pretrain_choice):' "$out/$method/configs.yaml" > "$demo/$name.yaml"
done
cp "$out/dm-adapter/tokenizer.json" "$demo/tokenizer.json"
