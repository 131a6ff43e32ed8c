#!/usr/bin/env bash
# From a folder of files to a tuned model, and a store that searches with it: docs/tuning.md tells the story.
# Usage: recipes/tuning/run.sh CLONE RUN_FOLDER, with a clone of github.com/google-deepmind/xquad (7d30520)
# Needs the extras search, train and eval. If it is killed, run it again: finished steps are skipped.
set -euo pipefail
recipes=$(cd "$(dirname "$0")/.." && pwd)
clone=$(realpath "$1")
mkdir -p "$2"
cd "$2"

[ -f held-out/qrels/test.tsv ] || python "$recipes/tuning/articles.py" "$clone" .
cp "$recipes/tuning/tune.toml" .

# What the model can do before.
[ -d results/before ] || me5 eval run held-out --model me5-small --name before --out results

# Questions, without any that the evaluation asks too, and with hard negatives.
[ -d read ] || me5 data read train --licence CC-BY-SA-4.0 --out read
[ -d clean ] || me5 data decontaminate read -e development -e held-out --out clean
[ -d mined ] || me5 data mine clean --model me5-small --percent-of-positive 0 --depth 50 --number 4 --out mined

# The training.
[ -d runs/articles/model ] || me5 train tune.toml --plan
[ -d runs/articles/model ] || me5 train tune.toml

# The mean of the weights before and after: what tuning forgot comes back.
[ -d mean ] || python "$recipes/small/mean.py" runs/articles/model me5-small mean --share 0.5

# What they can do, beside before.
[ -d results/after ] || me5 eval run held-out --model runs/articles/model --name after --out results
[ -d results/mean ] || me5 eval run held-out --model mean --name mean --out results
me5 eval compare results/before results/after
me5 eval compare results/before results/mean

# A store of all articles.
me5 index articles --into articles.lance --model mean
me5 search articles.lance "In welchem Jahr starb Nikola Tesla?" --vectors --model mean -k 4
