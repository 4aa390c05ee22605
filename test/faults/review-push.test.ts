// What a review of push asked for and no test had shown.
import { inspect } from "node:util";
import { Timestamp } from "mongodb";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findReceipts, openLedger } from "../../src/ledger/ledger.ts";
import { clusterTimeOf } from "../../src/model/commit-clock.ts";
import { silentLogger } from "../../src/model/logger.ts";
import type { Receipt } from "../../src/model/receipt.ts";
import { ingestFixture } from "../ingest/ingest-fixture.ts";
import { testSchema } from "../ingest/test-schema.ts";
import { create, type PushFixture, pushFixture, remove, sendOne, update } from "../push/push-fixture.ts";
import { waitFor } from "../support/wait-for.ts";

let fixture: PushFixture;

beforeEach(async () => {
  fixture = await pushFixture();
});

afterEach(() => fixture.close());

function textOf({ record, conflicts, rejection }: Receipt): string {
  const bytes = record?.form === "PROTO" ? Buffer.from(record.bytes).toString("latin1") : "";
  return bytes + JSON.stringify([record?.form === "JSON" && record.json, conflicts, rejection]);
}

test.each(["JSON", "PROTO"] as const)(
  "push: receipts, replayed ones too → nothing of a HIDDEN field (%s)",
  async (recordForm) => {
    const theirs = { _id: "n", title: "theirs", ownerId: "ana", secret: "s3cret" };
    await fixture.notes.insertOne(theirs);
    const conflict = create("n", { title: "mine", ownerId: "ana" });
    const merged = update("n", { title: "mine" }, { title: "older" });
    const deleted = remove("n", { title: "older", ownerId: "ana" });
    const outcomes: string[] = [];
    for (const mutation of [conflict, conflict, merged, merged, deleted]) {
      const receipt = await sendOne(fixture, mutation, { recordForm });
      outcomes.push(receipt.outcome);
      expect(textOf(receipt)).not.toMatch(/s3cret|secret/);
    }
    expect(outcomes).toEqual(["CONFLICT", "CONFLICT", "MERGED", "MERGED", "MERGED"]);
    expect(JSON.stringify(await fixture.ledger.receipts.find().toArray())).not.toContain("secret");
  },
);

test("push: a receipt replayed on an idle source → the log's clock reaches its commit clock by itself (P4)", async () => {
  const idle = await ingestFixture(await testSchema());
  await idle.start();
  await idle.settled();
  const ledger = await openLedger(idle.client, idle.log.db.databaseName);
  const { readAt } = await findReceipts(ledger, ["none"]);
  const time = new Timestamp(clusterTimeOf(readAt));
  await waitFor(async () => (await idle.state()).clock?.greaterThanOrEqual(time));
});

test("push: a unique index refuses → the log line says what and why, without a record's values", async () => {
  const warnings: object[] = [];
  const logger = { ...silentLogger, warn: (fields: object) => warnings.push(fields) };
  const { database } = fixture;
  const logged = await pushFixture({ database, logger });
  await logged.notes.createIndex({ mail: 1 }, { unique: true });
  await logged.notes.insertOne({ _id: "holder", ownerId: "bob", mail: "m@x" });
  await sendOne(logged, create("u", { title: "t", ownerId: "ana", email: "m@x" }));
  expect(warnings).toMatchObject([{ collection: "notes", refusal: { kind: "taken", keys: ["mail"] } }]);
  expect(inspect(warnings, { depth: 20, showHidden: true })).not.toContain("m@x");
});
