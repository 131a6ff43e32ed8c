#!/usr/bin/env bash
# E5's recipe from end to end on made-up languages, offline, in about half a minute of one core: tokenizer, stage 1, mined
# negatives, a teacher's scores, stage 2, evaluation, vectors. Usage: recipes/toy/run.sh RUN_FOLDER
set -euo pipefail
toy=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

python "$toy/make_data.py" .
cp "$toy/stage1.toml" "$toy/stage2.toml" .
me5 data read pairs.jsonl --out pairs
me5 data read questions.jsonl --out questions
me5 data tokenizer pairs questions --pieces 600 --prompts prefix --out tokenizer
me5 train stage1.toml --out stage1 --cache cache
me5 data mine questions --model stage1/model --number 3 --depth 50 --out mined
me5 data score mined --teacher stage1/model --out scored
me5 train stage2.toml --out stage2 --cache cache
me5 eval run eval --model stage1/model --no-bm25 --out results/stage1
me5 eval run eval --model stage2/model --no-bm25 --out results/stage2
me5 embed eval/retrieval/xa-xb/queries.jsonl --field text --side query --model stage2/model --output questions.npy
