// Packs in the database: what publishing one does to others, held up by the server's own failpoint.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { expect, onTestFinished, test } from "vitest";
import { openLog } from "../../src/log/log.ts";
import { claimPack, type Pack, publishPack, readPacks, writePackBlock } from "../../src/log/packs.ts";
import { startOwnMongod } from "../support/own-mongod.ts";
import { temporaryParent, temporaryPrefix } from "../support/temporary-parent.ts";

const FEED = "todos/user:ana";

test("packs: the next is begun while the one before is put in its place → the next stays whole", async () => {
  const folder = await mkdtemp(join(await temporaryParent(), temporaryPrefix(process.pid)));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const mongod = await startOwnMongod(folder);
  onTestFinished(() => mongod.close());
  const client = await new MongoClient(mongod.uri).connect();
  const control = await new MongoClient(`${mongod.uri}&directConnection=true`).connect();
  onTestFinished(async () => void (await Promise.all([client.close(), control.close()])));
  const log = await openLog(client, "tidemark");
  const begin = async () => {
    const claim = await claimPack(log, FEED, 0);
    if (!claim) throw new Error("nobody else makes it");
    await writePackBlock(log, claim, { after: 0, last: 1, changes: Buffer.from("changes") });
    return claim;
  };
  const publish = async () => {
    const about = { epoch: "e", seq: 1, last: 1, schema: 1, records: 1, madeAtMs: 0, tookMs: 0 };
    const made: Pack = { ...about, ...(await begin()) };
    return { made, published: publishPack(log, made) };
  };
  expect(await (await publish()).published).toBe(true);
  const { count } = await control.db("admin").command({
    configureFailPoint: "failCommand",
    mode: { times: 1 },
    data: {
      failCommands: ["delete"],
      namespace: "tidemark.packblocks",
      blockConnection: true,
      blockTimeMS: 500,
    },
  });
  const second = await publish();
  await control
    .db("admin")
    .command({ waitForFailPoint: "failCommand", timesEntered: count + 1, maxTimeMS: 10_000 });
  const third = await begin();
  expect(await second.published).toBe(true);
  expect((await readPacks(log, [FEED])).map(({ id }) => id)).toEqual([second.made.id]);
  expect(await log.packBlocks.distinct("_id.p")).toEqual([second.made.id, third.id]);
});
