// Principals and what they may do: a principal holds scopes, each to READ or READ_WRITE.
// Grants from token claims come with the principal; grants from memberships are read from the log and added.

export type Access = "READ" | "READ_WRITE";

/** Scope → the highest access held; `EVERY_SCOPE` stands for all. */
export type Grants = ReadonlyMap<string, Access>;

/** No record is in it and no template gives it, so no token and no membership can name it: only services hold it. */
export const EVERY_SCOPE = "";

export interface Principal {
  /** The token's `sub`; empty for an anonymous caller. */
  readonly id: string;
  /** What the token's claims grant. */
  readonly claimGrants: Grants;
  /** The device, as its token names it, else as the client itself does; for receipts. */
  readonly device: string;
  /** A part of the team's own backend: it reads and writes every scope, and sees the receipts of every principal. */
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

const SERVICE_GRANTS: Grants = new Map([[EVERY_SCOPE, "READ_WRITE"]]);

/** What a principal holds, given what memberships grant it. */
export function grantsHeld(
  { claimGrants, isService }: Pick<Principal, "claimGrants" | "isService">,
  memberships: Grants | undefined,
): Grants {
  if (isService) return SERVICE_GRANTS;
  return memberships === undefined ? claimGrants : mergeGrants(claimGrants, memberships);
}

/** Whether a record in these scopes is to be seen; one in none is so by services alone. */
export function canRead(grants: Grants, scopes: readonly string[]): boolean {
  return grants.has(EVERY_SCOPE) || scopes.some((scope) => grants.has(scope));
}

/** As `canRead`, for changing it. */
export function canWrite(grants: Grants, scopes: readonly string[]): boolean {
  return grants.has(EVERY_SCOPE) || scopes.some((scope) => grants.get(scope) === "READ_WRITE");
}
