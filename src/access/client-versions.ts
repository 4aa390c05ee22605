// Which client versions are served: the oldest of each platform, and those about to go. Versions compare as semantic
// versioning has it, with any number of parts, missing ones zero; one that can't be read is older than all others.
// A client that doesn't name itself, or a platform nobody named, is served.
import { SyncError } from "../model/sync-error.ts";
import type { ClientIdentity } from "./client-header.ts";

/** By platform, lower case. */
export type VersionOf = ReadonlyMap<string, string>;

export interface ClientVersionOptions {
  readonly oldest: VersionOf;
  /** Older than these: about to go. */
  readonly deprecated: VersionOf;
  readonly upgradeUrls: ReadonlyMap<string, string>;
}

export interface ClientVersions {
  readonly oldest: VersionOf;
  /** @throws SyncError CLIENT_TOO_OLD, with where to upgrade. */
  check(client: ClientIdentity | undefined): void;
  /** What a client that is about to go is told; undefined: it isn't. Fits a header. */
  notice(client: ClientIdentity | undefined): string | undefined;
}

export function createClientVersions(options: ClientVersionOptions): ClientVersions {
  const { oldest, deprecated, upgradeUrls } = options;
  return {
    oldest,
    check(client) {
      const least = client && oldest.get(client.platform);
      if (!least || compareVersions(client.version, least) >= 0) return;
      const { platform, version } = client;
      const url = upgradeUrls.get(platform);
      throw new SyncError(
        "CLIENT_TOO_OLD",
        `${platform}/${version} is no longer served; ${upgradeTo(least, url)}`,
        { metadata: { platform, version, oldest: least, ...(url !== undefined && { upgrade_url: url }) } },
      );
    },
    notice(client) {
      const least = client && deprecated.get(client.platform);
      if (!least || compareVersions(client.version, least) >= 0) return undefined;
      const { platform, version } = client;
      return `${platform}/${version} is about to go; ${upgradeTo(least, upgradeUrls.get(platform))}`;
    },
  };
}

function upgradeTo(version: string, url: string | undefined): string {
  return `upgrade to ${version} or later${url === undefined ? "" : `: ${url}`}`;
}

interface Version {
  readonly numbers: readonly bigint[];
  /** Empty: a release. */
  readonly preRelease: readonly string[];
}

/** `2.4.0`, `v2.4`, `2.4.0-beta.1+build`; undefined: no version. */
export function readVersion(text: string): Version | undefined {
  const [, numbers, preRelease] = /^v?(\d+(?:\.\d+)*)(?:-([0-9a-z.-]+))?(?:\+.*)?$/i.exec(text) ?? [];
  if (numbers === undefined) return undefined;
  return { numbers: numbers.split(".").map(BigInt), preRelease: preRelease?.split(".") ?? [] };
}

/** Negative: `a` is older than `b`. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [readVersion(a), readVersion(b)];
  if (!left || !right) return Number(left !== undefined) - Number(right !== undefined);
  const length = Math.max(left.numbers.length, right.numbers.length);
  for (let index = 0; index < length; index++) {
    const order = compare(left.numbers[index] ?? 0n, right.numbers[index] ?? 0n);
    if (order !== 0) return order;
  }
  return comparePreReleases(left.preRelease, right.preRelease);
}

/** A release is newer than what came before it; of two with the same beginning the longer is newer. */
function comparePreReleases(left: readonly string[], right: readonly string[]): number {
  if (left.length === 0 || right.length === 0) return compare(right.length, left.length);
  for (const [index, identifier] of left.entries()) {
    const other = right[index];
    if (other === undefined) return 1;
    const order = compareIdentifiers(identifier, other);
    if (order !== 0) return order;
  }
  return compare(left.length, right.length);
}

/** Numbers by value, and older than names; names by their characters. */
function compareIdentifiers(left: string, right: string): number {
  const [leftIsNumber, rightIsNumber] = [/^\d+$/.test(left), /^\d+$/.test(right)];
  if (leftIsNumber && rightIsNumber) return compare(BigInt(left), BigInt(right));
  if (leftIsNumber !== rightIsNumber) return leftIsNumber ? -1 : 1;
  return compare(left, right);
}

function compare<T extends bigint | number | string>(left: T, right: T): number {
  return left < right ? -1 : Number(left > right);
}
