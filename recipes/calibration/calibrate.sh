#!/bin/bash
# Calibrate a model with training pairs, and judge it on evaluation sets that it was not calibrated with.
#
#     calibrate.sh MODEL WORK EVALUATION_FOLDER PAIRS.parquet…
#
# MODEL is a folder or a GGUF file; the calibration is kept beside it. WORK gets the sets that were drawn,
# calibration.json, its report calibration.md and picture calibration.svg, and judged.json, .md and .svg with the figures
# of every evaluation set. Vectors are kept in ME5_CACHE, by default WORK/vectors: `me5 eval run` on the same sets and
# this share them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$1 work=$2 evaluation=$3
shift 3
mkdir -p "$work"
export ME5_CACHE=${ME5_CACHE:-$work/vectors}
python=${PYTHON:-python}
"$python" "$here/draw.py" "$work/sets" "$@"
"$python" -m me5 calibrate "$model" "$work"/sets/* --out "$work/calibration"
"$python" -m me5 calibrate "$model" "$evaluation"/*/ --judge "$work/calibration.json" --out "$work/judged"
