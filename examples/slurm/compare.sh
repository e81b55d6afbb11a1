#!/bin/bash
# A comparison whose runs are shared out over the tasks of a Slurm job; after a lost task or the time limit it takes up what is left.
#
#     sbatch compare.sh                                  # or another suite: sbatch --ntasks=4 compare.sh my-suite.json
#
# Each run is trained by one task, so as many tasks as there are runs are of use. All write into one folder that every node sees.
# How loopnn and srun are set up: see train.sh.
#SBATCH --job-name=loopnn-compare
#SBATCH --ntasks=12
#SBATCH --cpus-per-task=4
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@300

[ $# -gt 0 ] || set -- paper-1
out=${OUT:-runs/compare}

export PATH="$PWD/node_modules/.bin:$PATH"

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --cpu-bind=cores --kill-on-bad-exit=1 \
  loopnn compare "$@" --out "$out" && exit

# There is a report, with what is finished, of a comparison that was stopped too. A run that failed would fail again.
if [ -e "$out/results.json" ] && ! grep -q "stopped with" "$out/results.json"; then
  exit 1
fi
[ "${SLURM_RESTART_COUNT:-0}" -lt 50 ] && scontrol requeue "$SLURM_JOB_ID"
exit 1
