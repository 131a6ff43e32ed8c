#!/usr/bin/env bash
# From a folder of files to a tuned model, and a store that searches with it: docs/tuning.md tells the story.
# Usage: recipes/tuning/run.sh CLONE RUN_FOLDER, with a clone of github.com/uci-soe/FairytaleQAData (a24ddc1)
# Needs the extras search, train and eval. If it is killed, run it again: finished steps are skipped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
clone=$(realpath "$1")
mkdir -p "$2"
cd "$2"

[ -d stories ] || python "$here/stories.py" "$clone" .
cp "$here/tune.toml" .

# Questions, without any that the evaluation asks too, and with hard negatives.
[ -d read ] || me5 data read train --query-lang en --document-lang en --licence Apache-2.0 --out read
[ -d clean ] || me5 data decontaminate read -e development -e held-out --out clean
[ -d mined ] || me5 data mine clean --model me5-small --same-title --depth 50 --number 4 --out mined

# The training.
me5 train tune.toml --plan
me5 train tune.toml

# Before and after, beside search by words.
me5 eval run held-out --model me5-small --name before --out results
me5 eval run held-out --model runs/stories/model --name after --out results
me5 eval compare results/before results/after

# A store of all stories, brought over to the tuned model.
[ -d stories.lance ] || me5 index stories --into stories.lance
me5 index migrate stories.lance --model runs/stories/model
me5 search stories.lance "Who was surprised that the tin soldier had one leg?" --model runs/stories/model --k 1
