#!/bin/bash
# A comparison whose runs are shared out over the tasks of a Slurm job; after a lost node or the time limit it takes up what is left.
#
#     sbatch compare.sh
#
# Each run is trained by one task, so as many tasks as there are runs are of use. All write into one folder that every node sees.
#SBATCH --job-name=loopnn-compare
#SBATCH --ntasks=12
#SBATCH --cpus-per-task=4
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@300

suite=${SUITE:-paper-1}
out=${OUT:-runs/paper-1}

srun --cpu-bind=cores npx loopnn compare "$suite" --out "$out"

if [ ! -e "$out/report.html" ]; then
  [ "${SLURM_RESTART_COUNT:-0}" -lt 50 ] && scontrol requeue "$SLURM_JOB_ID"
  exit 1
fi
