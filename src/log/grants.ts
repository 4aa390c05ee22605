// Grants by membership: one document per membership record, so that two rows may grant the same scope.
// Written by ingest in the append that saw the membership change; read in the snapshot of a pass.
import type { ClientSession } from "mongodb";
import { type Access, mergeGrants } from "../model/principal.ts";
import type { RecordKey } from "./entry.ts";
import { type Log, readIn } from "./log.ts";

export interface Grant {
  /** The membership record. */
  readonly key: RecordKey;
  readonly principal: string;
  readonly scope: string;
  readonly access: Access;
}

export interface GrantDocument {
  _id: RecordKey;
  principal: string;
  scope: string;
  access: Access;
}

export function grantDocument({ key, ...rest }: Grant): GrantDocument {
  return { _id: key, ...rest };
}

function grantOf({ _id, ...rest }: GrantDocument): Grant {
  return { key: _id, ...rest };
}

/** What memberships grant a principal: per scope the maximum. */
export async function readGrants(
  log: Log,
  principal: string,
  session?: ClientSession,
): Promise<Map<string, Access>> {
  const rows = await log.grants.find({ principal }, readIn(session)).toArray();
  return mergeGrants(...rows.map((row) => new Map([[row.scope, row.access]])));
}

/** The same for several, as the session's snapshot has it; principals without a grant are absent. */
export async function readGrantsOfAll(
  log: Log,
  principals: readonly string[],
  session: ClientSession,
): Promise<Map<string, Map<string, Access>>> {
  const all = new Map<string, Map<string, Access>>();
  for (let i = 0; i < principals.length; i += PRINCIPALS_PER_QUERY_MAX) {
    const some = principals.slice(i, i + PRINCIPALS_PER_QUERY_MAX);
    for (const row of await log.grants.find({ principal: { $in: some } }, { session }).toArray()) {
      all.set(
        row.principal,
        mergeGrants(all.get(row.principal) ?? new Map(), new Map([[row.scope, row.access]])),
      );
    }
  }
  return all;
}

const PRINCIPALS_PER_QUERY_MAX = 1_000;

/** What each of these membership records grants. */
export async function readGrantsOf(log: Log, keys: readonly RecordKey[]): Promise<Grant[]> {
  const rows = await log.grants
    .find({ _id: { $in: [...keys] } }, { readConcern: "majority", batchSize: keys.length + 1 })
    .toArray();
  return rows.map(grantOf);
}
