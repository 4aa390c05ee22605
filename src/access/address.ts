// Callers' addresses: in one spelling each, as the unit that limits count by, and out of `x-forwarded-for` where the
// peer is a proxy the operator trusts. What anybody else claims is ignored; garbage ends the search, never the call.
import { BlockList, isIP } from "node:net";

/** The proxies whose word is taken. */
export interface TrustedProxies {
  readonly size: number;
  /** @param address as canonicalAddress gives it. */
  has(address: string): boolean;
}

/** Enough for any chain of proxies; a longer header is read from its end. */
const HOPS_MAX = 32;

/**
 * The address in one spelling: without port, brackets and zone, IPv6 compressed, IPv4 mapped into IPv6 as IPv4.
 * Undefined: it is none.
 */
export function canonicalAddress(text: string): string | undefined {
  const bare = withoutPort(text.trim()).replace(/%.*$/, "");
  const family = isIP(bare);
  if (family === 4) return bare;
  if (family === 0) return undefined;
  const groups = groupsOf(bare);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped)
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join(".");
  // The URL parser compresses as RFC 5952 asks.
  return new URL(`http://[${bare}]`).hostname.slice(1, -1);
}

/**
 * What limits count by: an IPv4 address, or the /64 an IPv6 address lies in, since one household or phone has all of
 * that. An address that is none stands for itself.
 */
export function addressGroup(address: string): string {
  const canonical = canonicalAddress(address);
  if (canonical === undefined || isIP(canonical) === 4) return canonical ?? address;
  const prefix = groupsOf(canonical).slice(0, 4);
  return `${prefix.map((group) => group.toString(16)).join(":")}::/64`;
}

/**
 * @param ranges addresses, or ranges as `10.0.0.0/8`.
 * @throws Error with a sentence for one that can't be read, or that takes in every address.
 */
export function readTrustedProxies(ranges: readonly string[]): TrustedProxies {
  const list = new BlockList();
  for (const range of ranges) {
    const [, text = "", bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(range.trim()) ?? [];
    const family = isIP(text);
    const bitsMax = family === 4 ? 32 : 128;
    const prefix = bits === undefined ? bitsMax : Number(bits);
    if (family === 0 || prefix > bitsMax)
      throw new Error(`takes addresses or ranges like 10.0.0.0/8, not "${range}"`);
    if (prefix === 0) throw new Error(`"${range}" would let every caller name its own address`);
    list.addSubnet(text, prefix, family === 4 ? "ipv4" : "ipv6");
  }
  return {
    size: ranges.length,
    has: (address) => ranges.length > 0 && list.check(address, isIP(address) === 4 ? "ipv4" : "ipv6"),
  };
}

/**
 * The caller's address: the last one, seen from the server, that no trusted proxy has.
 * @param forwardedFor the header `x-forwarded-for`, each proxy's peer appended.
 */
export function callerAddress(
  peer: string,
  forwardedFor: string | undefined,
  trusted: TrustedProxies,
): string {
  let address = canonicalAddress(peer) ?? "";
  const hops = forwardedFor?.split(",").slice(-HOPS_MAX) ?? [];
  while (address !== "" && trusted.has(address)) {
    const hop = canonicalAddress(hops.pop() ?? "");
    if (hop === undefined) break;
    address = hop;
  }
  return address;
}

function withoutPort(text: string): string {
  const [, bracketed] = /^\[([^\]]*)\](?::\d+)?$/.exec(text) ?? [];
  if (bracketed !== undefined) return bracketed;
  return /^[^:]+:\d+$/.test(text) ? text.slice(0, text.indexOf(":")) : text;
}

/** The eight numbers of an IPv6 address. */
function groupsOf(address: string): number[] {
  const compressed = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = "", tail] = compressed.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
}
