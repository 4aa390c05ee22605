// A log written by hand on a real mongod, and streams on it.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { Timestamp } from "mongodb";
import { type PullChangesResponse, PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import type { Frame } from "../../src/frames/frame.ts";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { type Append, append, type CommittedAppend } from "../../src/log/append.ts";
import { readGrants } from "../../src/log/grants.ts";
import { type Log, openLog, readState } from "../../src/log/log.ts";
import type { Clock } from "../../src/model/clock.ts";
import { silentLogger } from "../../src/model/logger.ts";
import type { Principal } from "../../src/model/principal.ts";
import type { PullRequest } from "../../src/model/pull-request.ts";
import { framesOf } from "../../src/pull/frames-of.ts";
import { createPull, type Pull } from "../../src/pull/pull.ts";
import type { PullSettings } from "../../src/pull/settings.ts";
import { readSchema } from "../../src/schema/schema.ts";
import { type TestDatabase, testDatabase } from "../support/mongo.ts";
import { World, type Write } from "./world.ts";

export const demoSchema = readSchema(await compileProtos(join(import.meta.dirname, "../../proto/demo")));

export interface Fixture {
  readonly log: Log;
  readonly world: World;
  readonly database: TestDatabase;
  /** A node's pull; closed with the fixture. */
  node(clock: Clock, settings?: Partial<PullSettings>): Pull;
  /** One append of these writes; the log is settled afterwards, at a clock one second on, unless told otherwise. */
  write(writes: readonly Write[], more?: Partial<Append>): Promise<CommittedAppend>;
  /** What memberships grant a principal from now on, instead of what they did. */
  grant(principal: string, scopes: readonly string[], writes?: readonly Write[]): Promise<CommittedAppend>;
  close(): Promise<void>;
}

/** @param beforeAppend called when the world has changed and no reader can know yet. */
export async function openFixture(beforeAppend = () => {}): Promise<Fixture> {
  const database = await testDatabase();
  const log = await openLog(database.client, database.tidemarkDb);
  const world = new World();
  const nodes: Pull[] = [];
  let seconds = 1_700_000_000;
  const write: Fixture["write"] = async (writes, more = {}) => {
    const base = await readState(log);
    const { entries, drops } = world.write(writes);
    beforeAppend();
    const clock = new Timestamp({ t: ++seconds, i: 1 });
    const state: Append["state"] = { head: world.head, clock, settledAfter: undefined, ...more.state };
    const allDrops = [...drops, ...(more.drops ?? [])];
    return await append(log, { base, entries, ...more, drops: allDrops, state }, randomUUID());
  };
  return {
    log,
    world,
    database,
    write,
    node(clock, settings = {}) {
      const pull = createPull({
        log,
        schema: demoSchema,
        clock,
        logger: silentLogger,
        settings,
        random: () => 0,
      });
      nodes.push(pull);
      return pull;
    },
    async grant(who, scopes, writes = []) {
      const rows = [...(await readGrants(log, who)).keys()];
      const key = (scope: string) => ({ c: "members", k: `${who} ${scope}` });
      return await write(writes, {
        grantDrops: rows.filter((scope) => !scopes.includes(scope)).map(key),
        grants: scopes.map((scope) => ({ key: key(scope), principal: who, scope, access: "READ" })),
      });
    },
    async close() {
      await Promise.all(nodes.map((pull) => pull.close()));
      await database.drop();
    },
  };
}

export function principal(id: string, scopes: readonly string[], expiresAtMs?: number): Principal {
  const claimGrants = new Map(scopes.map((scope) => [scope, "READ" as const]));
  return { id, claimGrants, device: "test", isService: false, expiresAtMs };
}

/** A stream's frames, one by one. */
export function framesOfPull(pull: Pull, who: Principal, request: PullRequest, signal: AbortSignal) {
  return framesOf((reader) => pull.openFlow(who, request, reader), signal);
}

export const followAll: PullRequest = {
  collections: [],
  cursor: undefined,
  recordForm: "PROTO",
  wholeRecords: false,
  batchBytesMax: 131_072,
  mode: "FOLLOW",
  totalBytesMax: 0,
  heartbeatIntervalMs: undefined,
};

export const catchUp = { mode: "CATCH_UP" } as const;

export function decoded({ bytes }: Frame): PullChangesResponse {
  return fromBinary(PullChangesResponseSchema, bytes);
}
