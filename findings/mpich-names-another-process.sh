#!/usr/bin/env bash
# MPICH's launcher says that a process ended badly, and names one that it has killed itself.
#
# Versions: mpich 5.0.2 of PyPI; Debian 12's MPICH 4.0.2 does the same. Linux, Hydra on one machine.
# When a rank is lost, mpiexec ends the others and prints BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES with a PID.
# One would look at that process for the cause. It is mostly the first of the machine's processes that have ended by then,
# which the launcher's own SIGKILL brought about: where rank 3 of four kills itself, the PID is that of a lower rank.
# Whoever wants to know which rank was lost must find out in another way.
#
# Output seen (0 to 2 of them from run to run; the named rank is mostly 0, 1 or 2):
#   rank 3 was lost in each of 10 runs; mpiexec named rank 3 in 0 of them
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv mpi
mpi/bin/pip install --quiet mpich==5.0.2

cat > lost.c <<'C'
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
  int rank;
  MPI_Init(NULL, NULL);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  printf("rank %d is %d\n", rank, (int)getpid());
  fflush(stdout);
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 3) {
    usleep(200000);
    kill(getpid(), SIGKILL);
  }
  sleep(20);
}
C
mpi/bin/mpicc lost.c -o lost

runs=10
right=0
for ((run = 0; run < runs; run++)); do
  mpi/bin/mpiexec -n 4 ./lost > output 2>&1 || true
  named=$(sed -n 's/.*PID \([0-9]*\) RUNNING AT.*/\1/p' output)
  [ -n "$named" ]
  rank=$(sed -n "s/^rank \([0-9]*\) is $named\$/\1/p" output)
  if [ "$rank" = 3 ]; then right=$((right + 1)); fi
done
echo "rank 3 was lost in each of $runs runs; mpiexec named rank 3 in $right of them"
[ "$right" -lt "$runs" ]
