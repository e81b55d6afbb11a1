#!/bin/bash
# Trains a model on several machines of a Slurm cluster, and goes on by itself after the time limit.
#
#     sbatch train.sh
#
# loopnn is in your home folder or another that all nodes see, with its MPI part built once on a login node (`loopnn mpi`).
#SBATCH --job-name=loopnn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
# The job is queued again by itself (below), and its log goes on where it was.
#SBATCH --requeue
#SBATCH --open-mode=append
# Five minutes before the limit the tasks are asked to save and to end.
#SBATCH --signal=TERM@300

data=${DATA:-data/mine}
run=${RUN:-runs/mine}
steps=${STEPS:-100000}

# An update has the same bits on any number of tasks; with gradAccumSteps a multiple of the tasks (here 8) all have as much to do.
if [ -e "$run/config.json" ]; then
  how=(--resume)
else
  how=(--preset gpt2-45m-loop --grad-accum-steps 120 --max-steps "$steps")
fi

srun --cpu-bind=cores npx loopnn train --data "$data" --out "$run" "${how[@]}" --shard-optimizer

# The mark of success is written after the last barrier: what srun returns does not tell whether a task was lost.
if [ ! -e "$run/completed.json" ]; then
  # A run that can not go on (a loss that is not finite) would start for ever.
  [ "${SLURM_RESTART_COUNT:-0}" -lt 50 ] && scontrol requeue "$SLURM_JOB_ID"
  exit 1
fi
