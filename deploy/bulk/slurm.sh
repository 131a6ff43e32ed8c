#!/bin/bash
# A bulk job as a Slurm job array. Write the plan once, then submit; the folder must be one that all nodes share, or a URL:
#
#     me5 bulk corpus/ --out /shared/vectors --plan-only
#     sbatch deploy/bulk/slurm.sh /shared/vectors
#
# For GPUs: sbatch --gpus-per-task=1 deploy/bulk/slurm.sh /shared/vectors --device cuda
# A task that is killed is requeued and goes on; sbatch --array=3 … repeats one. The last one to end finishes the job.
#SBATCH --job-name=me5-bulk
#SBATCH --array=0-15
#SBATCH --cpus-per-task=16
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

# As many as --array has, also where only some of them are repeated.
shards=16
folder=$1
shift
exec srun me5 bulk resume "$folder" --shard "$SLURM_ARRAY_TASK_ID/$shards" "$@"
