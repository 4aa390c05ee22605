// A reader of a pack that is cut short by its own client's going away says nothing about the pack.
import { expect, it, onTestFinished } from "vitest";
import { dropPack, type Pack, readPacks } from "../../src/log/packs.ts";
import { type LogSnapshot, openSnapshot } from "../../src/log/snapshot.ts";
import { silentLogger } from "../../src/model/logger.ts";
import { PackMaker } from "../../src/pull/pack-maker.ts";
import { readHeld } from "../../src/pull/pack-reading.ts";
import { align, NOTHING } from "../../src/pull/subscription.ts";
import { FakeClock } from "./fake-clock.ts";
import { openFixture } from "./fixture.ts";
import { ANA, put } from "./world.ts";

/** Is closed, as by a client that goes away, when the third block of a pack has been read. */
function closedAmidBlocks(snapshot: LogSnapshot): LogSnapshot {
  return {
    state: snapshot.state,
    time: snapshot.time,
    get isClosed() {
      return snapshot.isClosed;
    },
    grantsOf: (who) => snapshot.grantsOf(who),
    grantsOfAll: (all) => snapshot.grantsOfAll(all),
    entries: (ranges, size) => snapshot.entries(ranges, size),
    allEntries: (after, size) => snapshot.allEntries(after, size),
    mainEntries: (keys) => snapshot.mainEntries(keys),
    countEntries: (ranges, max) => snapshot.countEntries(ranges, max),
    packs: (feeds) => snapshot.packs(feeds),
    changedIds: (feed, after, max) => snapshot.changedIds(feed, after, max),
    async *packBlocks(pack, after) {
      let blocks = 0;
      for await (const block of snapshot.packBlocks(pack, after)) {
        yield block;
        if (++blocks === 3) await snapshot.close();
      }
    },
    close: () => snapshot.close(),
  };
}

it("the reading is cut off while it looks for more → the pack stays", async () => {
  const fixture = await openFixture();
  onTestFinished(() => fixture.close());
  await fixture.write(Array.from({ length: 4_000 }, (_, n) => put(`r${n}`)));
  const settings = { packRecordsMin: 1, packChangedShareMax: 1 };
  const maker = new PackMaker({ log: fixture.log, clock: new FakeClock(), logger: silentLogger, settings });
  maker.consider(ANA, fixture.world.head);
  await maker.idle();
  const [made] = await readPacks(fixture.log, [ANA]);
  expect(made?.records).toBe(4_000);
  // All of the first blocks' records have changed: the reader passes over them without a word.
  await fixture.write(Array.from({ length: 3_900 }, (_, n) => put(`r${n}`, { votes: 1 })));
  const snapshot = await openSnapshot(fixture.log);
  const { subscription } = align(NOTHING, { ...snapshot.state, feeds: [ANA] });
  const packs = {
    changedShareMax: 1,
    consider() {},
    discard: (broken: Pack) => dropPack(fixture.log, broken),
  };
  const reader = readHeld({ snapshot: closedAmidBlocks(snapshot), subscription, batchSize: 1_000, packs });
  await expect(reader.next()).rejects.toThrow("blocks are missing");
  expect(snapshot.isClosed).toBe(true);
  expect(await readPacks(fixture.log, [ANA])).toMatchObject([{ id: made?.id }]);
});
