// A program that writes the same records past Tidemark, one write at a time: whole documents, single fields, keys that
// nobody declared; and counts, where clients count.
import { type Document, Double, Long, MongoServerError } from "mongodb";
import { classOf } from "../../src/mongo/error-class.ts";
import type { Random } from "../support/random.ts";
import { RECORD_IDS } from "./random-clients.ts";
import type { Nodes } from "./random-nodes.ts";
import { bsonOf, EDITABLE, newValues, nextValue } from "./random-values.ts";
import { absentOf, COLLECTIONS, type Values } from "./reference-fields.ts";

/** What it added, by record and field; doubles in quarters. */
export type Counted = Map<string, bigint>;

export async function makeCounters({ client, sourceDb }: Nodes): Promise<void> {
  for (const { name } of COLLECTIONS) {
    const zero = { count: 0, total: Long.ZERO, sum: new Double(0) };
    const collection = client.db(sourceDb).collection<Document & { _id: string }>(name);
    await collection.insertOne({ _id: "c1", ownerId: "ana", ...zero });
  }
}

export async function runWriter(
  { client, sourceDb }: Nodes,
  random: Random,
  writes: number,
): Promise<Counted> {
  const counted: Counted = new Map();
  for (let write = 0; write < writes; write++) {
    const collection = client
      .db(sourceDb)
      .collection<Document & { _id: string }>(random.of(COLLECTIONS).name);
    const _id = random.of(RECORD_IDS);
    const ref = `${collection.collectionName}/${_id}`;
    try {
      if (_id.startsWith("c")) await collection.updateOne({ _id }, addition(ref, random, counted));
      else if (random.below(8) === 0) await collection.deleteOne({ _id });
      else if (random.below(5) === 0)
        await collection.replaceOne({ _id }, documentOf(newValues(random)), { upsert: true });
      else await collection.updateOne({ _id }, change(random));
    } catch (error) {
      if (!(error instanceof MongoServerError && classOf(error) === "duplicate-key")) throw error;
    }
  }
  return counted;
}

function addition(ref: string, random: Random, counted: Counted): Document {
  const by = 1 + random.below(5);
  const [name, value] = random.of([
    ["count", by],
    ["total", Long.fromNumber(by)],
    ["sum", new Double(by / 4)],
  ] as const);
  const key = `${ref} ${name}`;
  counted.set(key, (counted.get(key) ?? 0n) + BigInt(by));
  return { $inc: { [name]: value } };
}

function change(random: Random): Document {
  if (random.below(6) === 0) return { $set: { undeclared: random.uuid() } };
  if (random.below(8) === 0) return { $set: { "place.undeclared": random.uuid() } };
  const set: Document = {};
  const unset: Document = {};
  for (let count = 0; count <= random.below(3); count++) {
    const field = random.of(EDITABLE);
    const next = nextValue(field, absentOf(field), random);
    if (field.name === "last" && String(next).length > 9) continue;
    for (const [key, value] of Object.entries(bsonOf(field.name, next))) {
      if (value === undefined) unset[key] = "";
      else set[key] = value;
      delete (value === undefined ? set : unset)[key];
    }
  }
  if (Object.keys(set).length + Object.keys(unset).length === 0) return { $set: { undeclared: "all" } };
  return {
    ...(Object.keys(set).length > 0 && { $set: set }),
    ...(Object.keys(unset).length > 0 && { $unset: unset }),
  };
}

function documentOf(values: Values): Document {
  const entries = Object.entries(values).flatMap(([name, value]) => Object.entries(bsonOf(name, value)));
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}
