/** Machines that are network namespaces: each has a network card and a name of its own, and its link can be cut. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mpi } from './mpi.js';

/** Before a command, what lets it make networks that nobody else sees and that end with it. */
const NETWORKING = ['unshare', '--user', '--map-root-user', '--net', '--mount'];

const SUBNET = '10.77.0';
const addressOf = (host: number) => `${SUBNET}.1${host}`;

/**
 * Names of namespaces are kept in /run/netns, which is to be this network's own. `hub` is a switch, with the launcher.
 */
const NETWORK = `
set -e
mount -t tmpfs none /run
ip link set lo up
ip link add name hub type bridge
ip addr add ${SUBNET}.1/24 dev hub
ip link set hub up
add() {
  ip netns add host$1
  ip link add to$1 type veth peer name card netns host$1
  ip link set to$1 master hub up
  ip -n host$1 link set lo up
  ip -n host$1 addr add ${SUBNET}.1$1/24 dev card
  ip -n host$1 link set card up
}
`;

/** Takes the place of ssh: [options] address command… */
const SHELL = `#!/bin/sh
while :; do case $1 in -l) shift 2 ;; -*) shift ;; *) break ;; esac; done
host=host\${1##*.1}
shift
exec ip netns exec "$host" unshare --uts sh -c 'hostname "$0"; eval "$@"' "$host" "$@"
`;

/** Why namespaces can not be had here; null where they can. */
export function noNetworks(): string | null {
  const [command, ...args] = [
    ...NETWORKING,
    'sh',
    '-c',
    `${NETWORK} add 1; ip netns exec host1 unshare --uts true`,
  ];
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0
    ? null
    : `this system does not let a process make networks: ${error?.message ?? stderr.trim()}`;
}

export interface Hosts {
  /** Starts as many ranks as there are hosts, one on each, over TCP. */
  readonly mpi: Mpi;
  /** What starts the launcher. */
  readonly before: readonly string[];
  /** Where a file of a host's number is written, that host's link is cut. */
  readonly cut: string;
}

/**
 * So many hosts, named host1 and so on, for files in `folder`. `flags` are more of the launcher's. The exit code of it
 * all is the launcher's.
 */
export function makeHosts(folder: string, mpi: Mpi, hosts: number, flags: readonly string[] = []): Hosts {
  const shell = join(folder, 'shell');
  const cut = join(folder, 'cut');
  writeFileSync(shell, SHELL, { mode: 0o755 });
  const numbers = Array.from({ length: hosts }, (_, i) => i + 1);
  const script = `${NETWORK}
    for host in ${numbers.join(' ')}; do add $host; done
    (until [ -e "$0" ]; do sleep 0.1; done; ip link set to$(cat "$0") down) 2> /dev/null &
    cutter=$!
    code=0
    "$@" || code=$?
    kill $cutter 2> /dev/null || true
    exit $code`;
  const where = [...launchOver(mpi, shell, numbers.map(addressOf)), ...flags];
  return {
    mpi: {
      ...mpi,
      env: { ...mpi.env, UCX_TLS: 'tcp,self', FI_PROVIDER: 'tcp' },
      launch: (ranks) => [...mpi.launch(ranks), ...where],
    },
    before: [...NETWORKING, 'sh', '-c', script, cut],
    cut,
  };
}

/** A launcher's flags for one rank on each host, with messages over TCP alone. */
function launchOver({ name }: Mpi, shell: string, addresses: readonly string[]): string[] {
  if (!name.startsWith('Open MPI')) {
    return ['-launcher', 'ssh', '-launcher-exec', shell, '-hosts', addresses.join(','), '-iface', 'hub'];
  }
  const set = (entries: Record<string, string>, flag = '--mca') =>
    Object.entries(entries).flatMap(([key, value]) => [flag, key, value]);
  const subnet = `${SUBNET}.0/24`;
  return [
    ...['--host', addresses.join(','), '--map-by', 'ppr:1:node'],
    ...set({ pml: 'ob1', btl: 'tcp,self', btl_tcp_if_include: subnet }),
    ...(/ v?4\./.test(name)
      ? set({ plm_rsh_agent: shell, oob_tcp_if_include: subnet })
      : set({ plm_ssh_agent: shell, prte_if_include: subnet }, '--prtemca')),
  ];
}

/**
 * Flags by which Open MPI's launcher asks every few seconds whether its part on a host is there. Without them, it
 * learns of a cut link from messages that nobody acknowledges, which Linux sends again for a quarter of an hour.
 */
export function keepAlive({ name }: Mpi): string[] {
  const flag = / v?4\./.test(name) ? '--mca' : '--prtemca';
  const after = { oob_tcp_keepalive_time: '5', oob_tcp_keepalive_intvl: '2', oob_tcp_keepalive_probes: '3' };
  return Object.entries(after).flatMap(([key, value]) => [flag, key, value]);
}
