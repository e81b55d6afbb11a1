#!/bin/bash
# Trains a model on several machines of a Slurm cluster, and goes on by itself after the time limit or the loss of a task.
#
#     sbatch train.sh                                    # or, with a training of your own:
#     sbatch --nodes=2 train.sh --preset mini-1x2 --grad-accum-steps 8
#
# loopnn is installed in a folder that all nodes see, and its MPI part is built once on a login node (`loopnn mpi`).
# srun must speak what that MPI understands: Open MPI wants `export SLURM_MPI_TYPE=pmix` before sbatch, MPICH pmi2,
# unless that is the cluster's default.
#     A checkpoint now: scancel --signal=USR1 <job>
#SBATCH --job-name=loopnn
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
# The job is queued again by itself (below), and its log goes on where it was.
#SBATCH --requeue
#SBATCH --open-mode=append
# Five minutes before the limit (Slurm may do so a minute earlier) the tasks are asked to save and to end.
#SBATCH --signal=TERM@300

data=${DATA:-data/mine}
run=${RUN:-runs/mine}

# Not by npx: it does not hand on what MPICH's processes find each other by.
export PATH="$PWD/node_modules/.bin:$PATH"

# An update has the same bits on any number of tasks; with gradAccumSteps a multiple of the tasks (here 8) all have as much to do.
[ $# -gt 0 ] || set -- --preset gpt2-45m-loop --grad-accum-steps 120 --max-steps 100000
[ ! -e "$run/config.json" ] || set -- --resume

# srun does not take over --cpus-per-task from sbatch, and would bind each task to one core.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --cpu-bind=cores --kill-on-bad-exit=1 \
  loopnn train --data "$data" --out "$run" --shard-optimizer "$@"

# The mark of success is written after the last barrier: what srun returns does not tell whether a task was lost.
if [ ! -e "$run/completed.json" ]; then
  # A run that can not go on (a loss that is not finite) would start for ever.
  [ "${SLURM_RESTART_COUNT:-0}" -lt 50 ] && scontrol requeue "$SLURM_JOB_ID"
  exit 1
fi
