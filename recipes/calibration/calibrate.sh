#!/bin/bash
# Calibrate a model with training pairs, and judge it on evaluation sets that it was not calibrated with.
#
#     calibrate.sh MODEL WORK EVALUATION_FOLDER PAIRS.parquet…
#
# MODEL is a folder or a GGUF file; the calibration is kept beside it. WORK gets the sets that were drawn, calibration.json,
# its report calibration.md and picture calibration.svg, and for each evaluation set NAME.md with its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$1 work=$2 evaluation=$3
shift 3
mkdir -p "$work/judged"
python "$here/draw.py" "$work/sets" "$@"
me5 calibrate "$model" "$work"/sets/* --out "$work/calibration"
for set in "$evaluation"/*/; do
    name=$(basename "$set")
    echo "== $name"
    me5 calibrate "$model" "$set" --judge "$work/calibration.json" --out "$work/judged/$name"
done
