/** Common parts of the HTTP servers: listen, report the URL, and end at once. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Listens on an address; port 0 is any free one. Throws Node's error for an address that is taken. */
export async function listen(server: Server, port: number, host: string): Promise<void> {
  server.listen(port, host);
  await once(server, 'listening');
}

/** The URL of a server that listens, without a slash at its end. */
export function urlOf(server: Server): string {
  const { address, port, family } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

/** Ends a server at once, and closes open connections. */
export async function closeNow(server: Server): Promise<void> {
  const closed = server.listening ? once(server, 'close') : null;
  server.close();
  server.closeAllConnections();
  await closed;
}
