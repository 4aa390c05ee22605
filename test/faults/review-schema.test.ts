// Faults a review found where a server with a newer schema meets a log an older one leads.
import { expect, onTestFinished, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { openLog, readState } from "../../src/log/log.ts";
import { startTidemark } from "../../src/main.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { ingestFixture } from "../ingest/ingest-fixture.ts";
import { TODO_FIELDS, testSchema } from "../ingest/test-schema.ts";
import { testDatabase } from "../support/mongo.ts";
import { waitFor } from "../support/wait-for.ts";

test("schema: a field hidden by a new node, the old one still leading → relieved at once, older entries withheld", async () => {
  const hidden = "int32 votes = 5 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];";
  const newer = await testSchema({ todoFields: TODO_FIELDS.replace("int32 votes = 5;", hidden) });
  const fixture = await ingestFixture(await testSchema());
  await fixture.todos.insertOne({ _id: "a", title: "t", ownerId: "ana", votes: 7 });
  const old = await fixture.start({ settings: { rollbackAfterMs: 1e9 } });
  await fixture.settled();
  const node = await fixture.start({ schema: newer });
  await waitFor(() => node.status().isSchemaKnown, { what: "the newer schema's lead" });
  const state = await fixture.state();
  expect(state.collections.find(({ name }) => name === "todos")?.oldestReadable).toBe(2);
  // The old leader learns it by its next beat, or its next append.
  await waitFor(() => old.status().role === "FOLLOWING", { what: "the old leader's end" });
  await waitFor(() => node.status().role === "LEADING" && node.status().settled, { what: "a settled log" });
});

test("schema: a server serves only once the log has been led by its schema", async () => {
  const { uri, client, sourceDb, tidemarkDb, drop } = await testDatabase();
  const env = { MONGODB_URI: uri, MONGODB_DB: sourceDb, TIDEMARK_DB: tidemarkDb };
  const config = readConfig({ ...env, TIDEMARK_DEV: "1", PORT: "0", DRAIN_SECONDS: "1" });
  const tidemark = await startTidemark(config, { logger: silentLogger });
  onTestFinished(async () => {
    await tidemark.close();
    await drop();
  });
  expect((await readState(await openLog(client, tidemarkDb))).schemas).toHaveLength(1);
});
