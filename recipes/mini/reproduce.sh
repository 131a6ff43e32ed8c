#!/usr/bin/env bash
# Train me5-mini from the data folder and write model and figures below the run folder.
# Usage: recipes/mini/reproduce.sh DATA_FOLDER RUN_FOLDER
set -euo pipefail
data=$(realpath "$1")
mkdir -p "$2"
run=$(realpath "$2")
cd "$(dirname "$0")"
python=${PYTHON:-python}

[ -f "$run/tokenizer.json" ] || "$python" tokenizer.py "$data" "$run"
[ -f "$run/pairs.npz" ] || "$python" data.py "$data" "$run"
# The numbers of steps of the published weights; without them the scripts stop by time.
[ -f "$run/static.pt" ] || "$python" static.py "$run" --steps 2084
"$python" train.py "$run" --steps 1178
"$python" export.py "$run" "$run/me5-mini"
[ -d "$run/eval" ] || tar xJf "$data/eval.tar.xz" -C "$run"
for kind in bitext sts retrieval; do
    "$python" -m me5 eval run "$run/eval/$kind" --model "$run/me5-mini" --precision bf16 --out "$run/results"
done
"$python" card.py "$data" "$run" "$run/results" "$run/me5-mini"
