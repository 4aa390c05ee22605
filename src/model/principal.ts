// Principals and what they may do: a principal holds scopes, each to READ or READ_WRITE.
// Grants from token claims come with the principal; grants from memberships are read from the log and added.

export type Access = "READ" | "READ_WRITE";

/** Scope → the highest access held. */
export type Grants = ReadonlyMap<string, Access>;

export interface Principal {
  /** The token's `sub`; empty for an anonymous caller. */
  readonly id: string;
  /** What the token's claims grant. */
  readonly claimGrants: Grants;
  /** The device, as its token names it, else as the client itself does; for receipts. */
  readonly device: string;
  /** A part of the team's own backend: it sees the receipts of every principal. */
  readonly isService: boolean;
  /** When the token expires, in ms since 1970; undefined: never. */
  readonly expiresAtMs: number | undefined;
}

/** The union of several grants; the maximum holds. */
export function mergeGrants(...all: readonly Grants[]): Map<string, Access> {
  const merged = new Map<string, Access>();
  for (const grants of all) {
    for (const [scope, access] of grants) if (merged.get(scope) !== "READ_WRITE") merged.set(scope, access);
  }
  return merged;
}

export function canRead(grants: Grants, scopes: readonly string[]): boolean {
  return scopes.some((scope) => grants.has(scope));
}

export function canWrite(grants: Grants, scopes: readonly string[]): boolean {
  return scopes.some((scope) => grants.get(scope) === "READ_WRITE");
}
