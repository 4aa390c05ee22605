// ServerService: what the server is and allows. Needs no token, so it says nothing personal.
import type { ServiceImpl } from "@connectrpc/connect";
import type { ServerService } from "#gen/tidemark/v1/server_service_pb.js";
import { MUTATION_FIELDS_MAX } from "../push/mutation-size.ts";
import { MUTATIONS_PER_REQUEST_MAX } from "../push/push.ts";
import type { Schema } from "../schema/schema.ts";

export interface ServerFacts {
  readonly version: string;
  readonly receiptDays: number;
  readonly tombstoneDays: number;
  readonly requestBytesMax: number;
  readonly mutationBytesMax: number;
  /** By platform. */
  readonly oldestClients: ReadonlyMap<string, string>;
  readonly featureFlags: ReadonlyMap<string, boolean>;
}

/** As the contract's rules say. */
const BATCH_BYTES_MAX = 2_097_152n;

export function createServerService(schema: Schema, facts: ServerFacts): ServiceImpl<typeof ServerService> {
  const collections = [...schema.collections.values()]
    .map(({ name, message, writable }) => ({ name, messageType: message.typeName, writable }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const oldestClients = [...facts.oldestClients].map(([platform, version]) => ({ platform, version }));
  const flags = Object.fromEntries(facts.featureFlags);
  return {
    getServerInfo: () => ({
      version: facts.version,
      schema: schema.fingerprint,
      collections,
      limits: {
        mutationsPerRequestMax: MUTATIONS_PER_REQUEST_MAX,
        requestBytesMax: BigInt(facts.requestBytesMax),
        mutationBytesMax: BigInt(facts.mutationBytesMax),
        mutationFieldsMax: MUTATION_FIELDS_MAX,
        batchBytesMax: BATCH_BYTES_MAX,
        receiptDays: facts.receiptDays,
        tombstoneDays: facts.tombstoneDays,
      },
      oldestClients,
      flags,
    }),
  };
}
