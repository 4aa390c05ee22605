// Clients and a direct writer for the random test of push: they edit the same few records at the same time, send
// everything more than once, and note what they were told. Every value written is unique, so that each write in the
// database can be traced to whoever made it.
import type { Db } from "mongodb";
import type { Mutation } from "../../src/model/mutation.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import { SyncError } from "../../src/model/sync-error.ts";
import type { Random } from "../support/random.ts";
import { create, type PushFixture, remove, send, update } from "./push-fixture.ts";

const OWNER = "ana";
const RECORDS = ["r1", "r2", "r3", "r4", "r5", "r6"];
/** More lost races than this, one after the other, would be a fault. */
const RETRIES_MAX = 20;

export interface Told {
  readonly mutation: Mutation;
  readonly receipts: Receipt[];
}

/** Everything a client was told, by mutation id. */
export type Notes = Map<string, Told>;

interface Request {
  readonly mutations: readonly Mutation[];
  readonly atomic: boolean;
}

/** Pushes `rounds` requests, each once or more, some of them again much later. */
export async function runClient(fixture: PushFixture, random: Random, rounds: number): Promise<Notes> {
  const notes: Notes = new Map();
  const sent: Request[] = [];
  const deliver = async (request: Request) => note(notes, request, await push(fixture, request));
  for (let round = 0; round < rounds; round++) {
    const request = randomRequest(random, round);
    sent.push(request);
    await Promise.all(Array.from({ length: 1 + random.below(3) }, () => deliver(request)));
    if (random.below(3) === 0) await deliver(random.of(sent));
  }
  return notes;
}

function randomRequest(random: Random, round: number): Request {
  const mutations = Array.from({ length: 1 + random.below(4) }, () => randomMutation(random));
  return {
    mutations: round % 7 === 3 ? [...mutations, ...mutations.slice(0, 1)] : mutations,
    atomic: random.below(4) === 0,
  };
}

function randomMutation(random: Random): Mutation {
  const id = random.of(RECORDS);
  const sent = { mutationId: random.uuid() };
  const unique = sent.mutationId;
  switch (random.below(8)) {
    case 0:
    case 1:
      return create(id, { title: "t", ownerId: OWNER, body: unique }, sent);
    case 2:
      return remove(id, undefined, sent);
    case 3:
      return update(id, { body: unique, title: "" }, undefined, sent);
    default:
      return update(id, { body: unique }, random.below(2) ? { body: "never the base" } : undefined, sent);
  }
}

async function push(fixture: PushFixture, request: Request): Promise<readonly Receipt[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await send(fixture, request.mutations, { as: OWNER, atomic: request.atomic })).receipts;
    } catch (error) {
      if (!(error instanceof SyncError) || error.reason !== "CONTENTION" || attempt > RETRIES_MAX)
        throw error;
    }
  }
}

function note(notes: Notes, { mutations }: Request, receipts: readonly Receipt[]): void {
  for (const [index, mutation] of mutations.entries()) {
    const receipt = receipts[index];
    if (receipt === undefined || receipt.mutationId !== mutation.mutationId)
      throw new Error("receipts are in order");
    const told = notes.get(mutation.mutationId) ?? { mutation, receipts: [] };
    told.receipts.push(receipt);
    notes.set(mutation.mutationId, told);
  }
}

/** Edits the same records past Tidemark, declared and undeclared fields, one write at a time. */
export async function runDirectWriter(source: Db, random: Random, writes: number): Promise<void> {
  const documents = source.collection<{ _id: string }>("notes");
  for (let write = 0; write < writes; write++) {
    const _id = random.of(RECORDS);
    const direct = `direct-${random.uuid()}`;
    const kind = random.below(6);
    if (kind === 0) await documents.deleteOne({ _id });
    else if (kind === 1) await documents.updateOne({ _id }, { $set: { body: direct } });
    else if (kind === 2) {
      const fields = { title: "t", ownerId: OWNER, body: direct };
      await documents.updateOne(
        { _id },
        { $setOnInsert: fields, $set: { undeclared: { direct } } },
        { upsert: true },
      );
    } else await documents.updateOne({ _id }, { $set: { "undeclared.direct": direct } });
  }
}
