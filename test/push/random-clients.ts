// Clients for the random test of push: each is a device with a little replica of what it has seen, bases its edits on
// that, sends everything once or more, to both nodes, some of it again much later, and notes what it was told.
import { fromJson, toBinary } from "@bufbuild/protobuf";
import { entryOf } from "../../src/log/entry.ts";
import type { Mutation, MutationKind } from "../../src/model/mutation.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import type { JsonValue, RecordForm } from "../../src/model/record-form.ts";
import { SyncError } from "../../src/model/sync-error.ts";
import { recordToJson } from "../../src/schema/record-json.ts";
import type { Random } from "../support/random.ts";
import { principal } from "./push-fixture.ts";
import { refDocumentOf } from "./random-history.ts";
import type { Nodes } from "./random-nodes.ts";
import { EDITABLE, newValues, nextValue, OWNER } from "./random-values.ts";
import {
  absentOf,
  COLLECTIONS,
  FIELDS,
  fieldNamed,
  jsonOf,
  type Values,
  valuesIn,
} from "./reference-fields.ts";
import type { RefIntent } from "./reference-outcome.ts";

/** Those whose ids begin with `c` are there to be counted in: never deleted, nor their counters set by others. */
export const RECORD_IDS = ["c1", "r1", "r2", "r3"];
/** More lost races than this, one after the other, would be a fault. */
const RETRIES_MAX = 30;
const MENDABLE = ["CONTENTION", "DATABASE_UNAVAILABLE"];

/** A mutation, as its client made it. */
export interface Made {
  readonly sent: Mutation;
  readonly intent: RefIntent;
  /** `loose/r1`. */
  readonly ref: string;
  readonly request: Request;
  /** What was told of it, each time. */
  readonly told: Receipt[];
}

export interface Request {
  readonly made: Made[];
  readonly atomic: boolean;
  readonly device: string;
  /** How many mutations its device knew to be done when it was first sent. */
  readonly knownDone: number;
}

/** All that a client made and was told. */
export interface Notes {
  readonly requests: Request[];
  /** Ids of mutations, in the order in which the device came to know that they were done. */
  readonly done: string[];
}

interface Seen {
  readonly values: Values | undefined;
  /** The log's version of it; 0: not known. */
  readonly version: number;
}

export interface ClientOptions {
  readonly nodes: Nodes;
  readonly device: string;
  readonly random: Random;
  readonly rounds: number;
  /** One in so many deliveries has faults of the database on its way; 0: none. */
  readonly disturbedOneIn: number;
}

/** Pushes `rounds` times one or two requests at once. */
export async function runClient(options: ClientOptions): Promise<Notes> {
  const client = new Client(options);
  for (let round = 0; round < options.rounds; round++) await client.round();
  return client.notes;
}

class Client {
  readonly notes: Notes = { requests: [], done: [] };
  readonly #options: ClientOptions;
  readonly #random: Random;
  readonly #replica = new Map<string, Seen>();
  #clock = 0n;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#random = options.random;
  }

  async round(): Promise<void> {
    const random = this.#random;
    const looked = this.#randomRef();
    const look = random.below(6);
    if (look < 2) await this.#readRecord(looked);
    else if (look < 5) await this.#readEntry(looked);
    const requests = [this.#newRequest(looked)];
    if (random.below(2)) requests.push(this.#newRequest(this.#randomRef()));
    const again = random.below(4) === 0 ? [random.of(this.notes.requests)] : [];
    const deliveries = [...requests, ...again].flatMap((request) =>
      Array.from({ length: 1 + random.below(3) }, () => this.#deliver(request)),
    );
    await Promise.all(deliveries);
  }

  #randomRef(): string {
    return `${this.#random.of(COLLECTIONS).name}/${this.#random.of(RECORD_IDS)}`;
  }

  async #readRecord(ref: string): Promise<void> {
    const { client, sourceDb } = this.#options.nodes;
    const [collection = "", _id = ""] = ref.split("/");
    const found = await client
      .db(sourceDb)
      .collection<{ _id: string }>(collection)
      .findOne({ _id }, { readConcern: "majority", useBigInt64: true });
    this.#replica.set(ref, { values: found ? refDocumentOf(found).values : undefined, version: 0 });
  }

  async #readEntry(ref: string): Promise<void> {
    const { log, schema } = this.#options.nodes;
    const [c = "", k = ""] = ref.split("/");
    const found = await log.entries.findOne({ _id: { c, k } }, { readConcern: "majority" });
    const collection = schema.collections.get(c);
    const entry = found && entryOf(found);
    if (entry?.kind !== "main" || collection === undefined) return;
    const values = valuesIn(recordToJson(collection, entry.record), "JSON");
    this.#replica.set(ref, { values, version: entry.seq });
  }

  /** @param favourite the record most of it is about. */
  #newRequest(favourite: string): Request {
    const random = this.#random;
    const request: Request = {
      made: [],
      atomic: random.below(5) === 0,
      device: this.#options.device,
      knownDone: this.notes.done.length,
    };
    const count = random.of([1, 1, 2, 3, 6]);
    for (let index = 0; index < count; index++)
      request.made.push(this.#newMutation(random.below(3) ? favourite : this.#randomRef(), request));
    if (random.below(10) === 0) request.made.push(random.of(request.made));
    this.notes.requests.push(request);
    return request;
  }

  #newMutation(ref: string, request: Request): Made {
    const seen = this.#replica.get(ref) ?? { values: undefined, version: 0 };
    const intent = this.#newIntent(ref, seen);
    const random = this.#random;
    const [collection = "", recordId = ""] = ref.split("/");
    const sent: Mutation = {
      mutationId: random.uuid(),
      collection,
      recordId,
      madeAtMs: random.below(2) ? random.below(2 ** 31) : undefined,
      madeAfter: this.#clock,
      expectedVersion: this.#expected(intent, seen),
      kind: this.#kindOf(collection, intent),
    };
    this.#replica.set(ref, { values: afterOwn(intent, seen.values), version: seen.version });
    return { sent, intent, ref, request, told: [] };
  }

  #expected(intent: RefIntent, { version }: Seen): number {
    const random = this.#random;
    if (intent.kind === "create") return random.below(30) === 0 ? 1 : 0;
    if (version > 0 && random.below(2) === 0) return version;
    return random.below(30) === 0 ? 1 + random.below(50) : 0;
  }

  #newIntent(ref: string, { values }: Seen): RefIntent {
    const random = this.#random;
    const isCounted = ref.includes("/c");
    const chance = random.below(20);
    if (!isCounted && (chance < 1 || (values === undefined && chance < 15)))
      return { kind: "create", values: this.#perhapsStamped(newValues(random)) };
    if (!isCounted && chance < 4) {
      return { kind: "delete", base: random.below(4) && values ? values : undefined };
    }
    return this.#newUpdate(random.below(25) === 0 ? newValues(random) : values);
  }

  #newUpdate(values: Values | undefined): RefIntent {
    const random = this.#random;
    const names = new Set(Array.from({ length: 1 + random.below(7) }, () => random.of(EDITABLE).name));
    if (random.below(60) === 0) names.add("written");
    const isBlind = (values === undefined && random.below(2) === 0) || random.below(12) === 0;
    // What counts needs a base: blind edits leave it out, but for a few that are to be refused.
    const fields = [...names].map(fieldNamed).filter((field) => {
      return !isBlind || random.below(40) === 0 || (field.rule !== "SET" && field.rule !== "COUNTER");
    });
    const proposed: Record<string, JsonValue> = {};
    const base: Record<string, JsonValue> = {};
    for (const field of fields) {
      const from = values?.[field.name] ?? absentOf(field);
      base[field.name] = from;
      proposed[field.name] = random.below(15) === 0 ? from : nextValue(field, from, random);
    }
    return { kind: "update", proposed, base: isBlind ? undefined : base };
  }

  #perhapsStamped(values: Values): Values {
    return this.#random.below(30) === 0 ? { ...values, made: 1_000 } : values;
  }

  #kindOf(collection: string, intent: RefIntent): MutationKind {
    const form = this.#random.below(2) ? "JSON" : "PROTO";
    const record = (values: Values) => this.#recordOf(collection, values, form);
    switch (intent.kind) {
      case "create":
        return { case: "create", record: record(withoutAbsent(intent.values)) };
      case "delete":
        return { case: "delete", base: intent.base && record(intent.base) };
      case "update": {
        const numbers = Object.keys(intent.proposed).flatMap((name) => {
          const field = fieldNamed(name);
          return field.kind === "oneof" ? field.fields.map(({ number }) => number) : [field.number];
        });
        const changed = form === "PROTO" ? numbers : [];
        return {
          case: "update",
          record: record(intent.proposed),
          changed,
          base: intent.base && record(intent.base),
        };
      }
    }
  }

  #recordOf(name: string, values: Values, form: RecordForm["form"]): RecordForm {
    const json = jsonOf(values);
    if (form === "JSON") return { form, json };
    const collection = this.#options.nodes.schema.collections.get(name);
    if (collection === undefined) throw new Error("the schema has the collections");
    const present = Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));
    return { form, bytes: toBinary(collection.message, fromJson(collection.message, present)) };
  }

  async #deliver(request: Request): Promise<void> {
    const { nodes, device, disturbedOneIn } = this.#options;
    const random = this.#random;
    const ana = { ...(await principal(OWNER)), device };
    const mutations = request.made.map(({ sent }) => sent);
    for (let attempt = 1; ; attempt++) {
      if (disturbedOneIn > 0 && random.below(disturbedOneIn) === 0) await nodes.disturb(random);
      try {
        const { receipts } = await random
          .of(nodes.pushes)
          .pushMutations(
            ana,
            { mutations, atomic: request.atomic, recordForm: "JSON" },
            new AbortController().signal,
          );
        for (const [index, made] of request.made.entries()) this.#note(made, receipts[index]);
        return;
      } catch (error) {
        const isMendable = error instanceof SyncError && MENDABLE.includes(error.reason);
        if (!isMendable || attempt > RETRIES_MAX) throw error;
      }
    }
  }

  #note(made: Made, receipt: Receipt | undefined): void {
    if (receipt?.mutationId !== made.sent.mutationId) throw new Error("receipts are in the request's order");
    made.told.push(receipt);
    if (receipt.commitClock > this.#clock) this.#clock = receipt.commitClock;
    const { ref } = made;
    if (receipt.outcome === "APPLIED" || receipt.outcome === "MERGED")
      this.notes.done.push(receipt.mutationId);
    if (receipt.recordAbsent) this.#replica.set(ref, { values: undefined, version: 0 });
    if (receipt.record?.form === "JSON")
      this.#replica.set(ref, { values: valuesIn(receipt.record.json, "JSON"), version: 0 });
  }
}

function afterOwn(intent: RefIntent, values: Values | undefined): Values | undefined {
  switch (intent.kind) {
    case "create":
      return intent.values;
    case "update":
      return values && { ...values, ...intent.proposed };
    case "delete":
      return undefined;
  }
}

function withoutAbsent(values: Values): Values {
  const present = FIELDS.filter((field) => (values[field.name] ?? null) !== null);
  return Object.fromEntries(present.map(({ name }) => [name, values[name] ?? null]));
}
