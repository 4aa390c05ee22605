// What the kernel knows and Node doesn't tell: connections whose peer leaves bytes unacknowledged. Linux lists them in
// /proc/net; elsewhere nothing is known.
import { readFile } from "node:fs/promises";
import { type Socket, SocketAddress } from "node:net";

export interface Unacknowledged {
  readonly bytes: number;
  /** How often they were sent again, or a closed window was probed, without an answer. An answer makes it 0. */
  readonly tries: number;
}

/** By `connectionKey`: the connections of this machine (or container) whose kernel tries again and again. */
export async function readUnacknowledged(): Promise<ReadonlyMap<string, Unacknowledged>> {
  const tables = await Promise.all(TABLES.map((path) => readFile(path, "latin1").catch(() => "")));
  return new Map(tables.flatMap(parseTable));
}

/** Undefined: not connected any more. */
export function connectionKey({ localPort, remoteAddress, remotePort }: Socket): string | undefined {
  return remoteAddress && `${localPort} ${remotePort} ${remoteAddress}`;
}

const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];

/**
 * Established, with the timer of retransmissions or that of window probes running: few of many. Local port, remote
 * address and port, bytes, retransmissions, probes.
 */
const LINE =
  /^ *\d+: [\dA-F]+:([\dA-F]{4}) ([\dA-F]+):([\dA-F]{4}) 01 ([\dA-F]{8}):\S+ 0[14]:\S+ ([\dA-F]{8}) +\d+ +(\d+)/gm;

export function parseTable(table: string): (readonly [key: string, Unacknowledged])[] {
  return [...table.matchAll(LINE)].map(([, localPort, address, port, bytes, again, probes]) => [
    `${hex(localPort)} ${hex(port)} ${addressOf(address)}`,
    { bytes: hex(bytes), tries: hex(again) + Number(probes) },
  ]);
}

function hex(digits = "0"): number {
  return Number.parseInt(digits, 16);
}

/** The kernel prints addresses as 32-bit words of its own byte order: little-endian where this is known to run. */
function addressOf(digits = ""): string {
  const bytes = Buffer.from(digits, "hex").swap32();
  if (bytes.length === 4) return bytes.join(".");
  const groups = bytes.toString("hex").match(/.{4}/g) ?? [];
  return new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address;
}
