// Rows of merging: what the source holds and what a client sends, what is stored then and what is told. Each row is
// pushed by itself, and every row's document has data nobody declared, which must survive.
import { randomUUID } from "node:crypto";
import type { Document } from "mongodb";
import { expect } from "vitest";
import type { Receipt } from "../../src/model/receipt.ts";
import type { JsonObject } from "../../src/model/record-form.ts";
import { sourceReadOptions } from "../../src/schema/bson-value.ts";
import { encodeDocument } from "../../src/schema/encode-document.ts";
import { recordToJson } from "../../src/schema/record-json.ts";
import { type PushFixture, sendOne, update } from "./push-fixture.ts";

export interface Row {
  /** What happens → what follows. */
  readonly what: string;
  /** Undefined: a blind update. */
  readonly base: JsonObject | undefined;
  readonly current: Document;
  readonly proposed: JsonObject;
  /** Integers of 64 bits as bigint. Absent: the document stays as it was. */
  readonly stored?: Document;
  /** Or the reason of a rejection. */
  readonly outcome: string;
  /** Names of fields; none by default. */
  readonly conflicts?: readonly string[];
}

const UNDECLARED = { deep: [{ a: 1 }] };

export async function pushRow(fixture: PushFixture, row: Row): Promise<void> {
  const { base, current, proposed, stored = current, outcome, conflicts = [] } = row;
  const _id = randomUUID();
  const common = { _id, ownerId: "ana", undeclared: UNDECLARED, secret: "s" };
  const ruled = fixture.database.source.collection<Document & { _id: string }>("ruled");
  await ruled.insertOne({ ...current, ...common });
  const receipt = await sendOne(fixture, update(_id, proposed, base, { collection: "ruled" }));
  expect(receipt.rejection?.reason ?? receipt.outcome).toBe(outcome);
  expect(receipt.conflicts.map(({ name }) => name)).toEqual(conflicts);
  const document = await ruled.findOne({ _id }, sourceReadOptions);
  expect(document).toEqual({ ...stored, ...common });
  expectTold(fixture, receipt, document ?? {});
}

/** MERGED and CONFLICT tell the record exactly as it is stored now; others tell none. */
function expectTold({ schema }: PushFixture, receipt: Receipt, document: Document): void {
  const collection = schema.collections.get("ruled");
  if (collection === undefined) throw new Error("the schema has the collection");
  const isTold = receipt.outcome === "MERGED" || receipt.outcome === "CONFLICT";
  const json = isTold ? recordToJson(collection, encodeDocument(collection, document).bytes) : undefined;
  expect(receipt.record).toEqual(json && { form: "JSON", json });
}
