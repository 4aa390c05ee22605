// A device's mutations keep their order, atomic requests among them; calls that end early leave what was begun to be
// finished and the rest undone.
import { afterAll, beforeAll, expect, test } from "vitest";
import { SyncError } from "../../src/model/sync-error.ts";
import { PUSH_SESSIONS } from "../../src/push/push.ts";
import { QUEUE_LIMITS } from "../../src/push/pusher.ts";
import { type CallToGather, gather, toldOf } from "./gather.ts";
import { create, type PushFixture, pushFixture, remove, send, sendOne, update } from "./push-fixture.ts";

let fixture: PushFixture;

beforeAll(async () => {
  fixture = await pushFixture();
  await fixture.notes.createIndex(
    { mail: 1 },
    { unique: true, partialFilterExpression: { mail: { $gt: "" } } },
  );
});
afterAll(() => fixture.close());

const ofAna = { title: "tea", ownerId: "ana" };

async function noted(id: string, fields: Record<string, unknown> = {}): Promise<void> {
  await fixture.notes.insertOne({ _id: id, ...ofAna, ...fields });
}

const stored = (_id: string) => fixture.notes.findOne({ _id });

test("push: calls of one device at once, atomic ones among them → applied in the order they came", async () => {
  await noted("chain", { title: "0" });
  await noted("chain-2", { title: "0" });
  const step = (id: string, n: number) => update(id, { title: String(n) }, { title: String(n - 1) });
  const calls: CallToGather[] = [
    { mutations: [step("chain", 1)] },
    { mutations: [step("chain", 2), step("chain-2", 1), step("chain", 3)], atomic: true },
    { mutations: [step("chain", 4), step("chain-2", 2)] },
    { mutations: [step("chain", 5), step("chain-2", 3)], atomic: true },
    { mutations: [step("chain", 6)], atomic: true },
    { mutations: [step("chain", 7)] },
  ];
  const results = await Promise.all(await gather(fixture, calls));
  expect(results.flatMap(toldOf)).toEqual(new Array(10).fill("APPLIED"));
  const clocks = results.map((one) => (one.status === "fulfilled" ? one.value.commitClock : 0n));
  expect(clocks).toEqual(clocks.toSorted((a, b) => (a < b ? -1 : 1)));
  expect([await stored("chain"), await stored("chain-2")]).toMatchObject([{ title: "7" }, { title: "3" }]);
});

test("push: atomic requests and single mutations of many devices at the same records → all counted, none in contention", async () => {
  const at = { collection: "ruled" };
  const ids = ["r-0", "r-1", "r-2"];
  await send(
    fixture,
    ids.map((id) => create(id, { ownerId: "ana" }, at)),
  );
  const counted = (id: string) => update(id, { count: 1 }, { count: 0 }, at);
  const calls = Array.from({ length: 24 }, (_, i): CallToGather => {
    const device = `phone ${i}`;
    if (i % 2 > 0) return { mutations: [counted(ids[i % 3] ?? "")], device };
    return { mutations: i % 4 > 0 ? ids.map(counted) : ids.toReversed().map(counted), device, atomic: true };
  });
  const results = await Promise.all(await gather(fixture, calls));
  expect(new Set(results.flatMap(toldOf))).toEqual(new Set(["APPLIED", "MERGED"]));
  const documents = await fixture.database.source.collection("ruled").find({ ownerId: "ana" }).toArray();
  expect(documents.map((document) => document["count"])).toEqual([16, 16, 16]);
});

test("push: an atomic request that fails among a device's others → those before and after it stand", async () => {
  const calls: CallToGather[] = [
    { mutations: [create("around-1", ofAna)] },
    { mutations: [create("around-2", ofAna), update("nowhere", { title: "x" })], atomic: true },
    { mutations: [create("around-3", ofAna), update("around-2", { title: "x" })] },
  ];
  const results = await Promise.all(await gather(fixture, calls));
  expect(results.map(toldOf)).toEqual([["APPLIED"], ["NOT_ATTEMPTED", "CONFLICT"], ["APPLIED", "CONFLICT"]]);
});

test.each([true, false])(
  "push: two unique values swapped by way of a third, atomic: %s → swapped",
  async (atomic) => {
    const [a, b] = [`swap-a-${atomic}`, `swap-b-${atomic}`];
    await noted(a, { mail: `1-${atomic}` });
    await noted(b, { mail: `2-${atomic}` });
    const { receipts } = await send(
      fixture,
      [
        update(a, { email: `free-${atomic}` }, { email: `1-${atomic}` }),
        update(b, { email: `1-${atomic}` }, { email: `2-${atomic}` }),
        update(a, { email: `2-${atomic}` }, { email: `free-${atomic}` }),
      ],
      { atomic },
    );
    expect(receipts.map(({ outcome }) => outcome)).toEqual(new Array(3).fill("APPLIED"));
    expect(new Set(receipts.map(({ commitClock }) => commitClock)).size).toBe(atomic ? 1 : 3);
    expect([await stored(a), await stored(b)]).toMatchObject([
      { mail: `2-${atomic}` },
      { mail: `1-${atomic}` },
    ]);
  },
);

test("push: an atomic request that hands a unique value on, from a delete or an update → APPLIED", async () => {
  await noted("from-1", { mail: "hand-1" });
  await noted("from-2", { mail: "hand-2" });
  const { receipts } = await send(
    fixture,
    [
      remove("from-1"),
      create("to-1", { ...ofAna, email: "hand-1" }),
      update("from-2", { email: null }, { email: "hand-2" }),
      create("to-2", { ...ofAna, email: "hand-2" }),
    ],
    { atomic: true },
  );
  expect(receipts.map(({ outcome }) => outcome)).toEqual(new Array(4).fill("APPLIED"));
});

test("push: a swap with nothing between → the first to collide is REJECTED, nothing of an atomic request is written", async () => {
  await noted("hard-a", { mail: "h1" });
  await noted("hard-b", { mail: "h2" });
  const all = [
    update("hard-a", { email: "h2" }, { email: "h1" }),
    update("hard-b", { email: "h1" }, { email: "h2" }),
  ];
  const { receipts } = await send(fixture, all, { atomic: true });
  expect(receipts).toMatchObject([
    { outcome: "REJECTED", rejection: { reason: "DATABASE", violations: [{ path: "email" }] } },
    { outcome: "NOT_ATTEMPTED" },
  ]);
  expect([await stored("hard-a"), await stored("hard-b")]).toMatchObject([{ mail: "h1" }, { mail: "h2" }]);
});

test("push: a call aborted while it waits for its device's turn → DEADLINE_EXCEEDED, not written; its id is free", async () => {
  const abort = new AbortController();
  const one = create("waiting", ofAna);
  const calls: CallToGather[] = [
    { mutations: [create("before", ofAna)] },
    { mutations: [one, create("waiting-2", ofAna)], signal: abort.signal },
    { mutations: [create("after", ofAna)] },
  ];
  const pending = await gather(fixture, calls);
  abort.abort();
  const results = await Promise.all(pending);
  expect(results.map(toldOf)).toEqual([["APPLIED"], ["DEADLINE_EXCEEDED"], ["APPLIED"]]);
  expect(await fixture.notes.countDocuments({ _id: /^waiting/ })).toBe(0);
  expect(await sendOne(fixture, one)).toMatchObject({ outcome: "APPLIED", replayed: false });
});

test("push: an atomic call aborted while it waits → not written", async () => {
  const abort = new AbortController();
  const mutations = [create("waiting-3", ofAna), create("waiting-4", ofAna)];
  const [pending] = await gather(fixture, [{ mutations, atomic: true, signal: abort.signal }]);
  abort.abort(new SyncError("SHUTTING_DOWN", "the server is going away"));
  expect(await pending?.then(toldOf)).toEqual(["SHUTTING_DOWN"]);
  expect(await sendOne(fixture, create("waiting-3", ofAna))).toMatchObject({ outcome: "APPLIED" });
  expect(await stored("waiting-4")).toBeNull();
});

test("push: a call aborted while it is on its way → DEADLINE_EXCEEDED at once; sent again it is a replay", async () => {
  const abort = new AbortController();
  const all = [create("on its way", ofAna), update("on its way", { title: "two" }, { title: "tea" })];
  const called = send(fixture, all, { signal: abort.signal });
  // Its group begins in this turn of the event loop, and the database answers in a later one.
  setImmediate(() => abort.abort());
  await expect(called).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
  const { receipts } = await send(fixture, all);
  expect(receipts).toMatchObject(all.map(() => ({ outcome: "APPLIED", replayed: true })));
});

test("push: a call aborted while its document is held open → undone, what its device sent after it goes on", async () => {
  await noted("held");
  const session = fixture.database.client.startSession();
  session.startTransaction();
  await fixture.notes.updateOne({ _id: "held" }, { $set: { body: "theirs" } }, { session });
  const abort = new AbortController();
  const device = "held";
  const calls: CallToGather[] = [
    { mutations: [update("held", { title: "mine" }), create("behind", ofAna)], device, signal: abort.signal },
    { mutations: [create("next call", ofAna)], device },
    { mutations: [create("elsewhere", ofAna)], device: "other" },
  ];
  const [held, next, elsewhere] = await gather(fixture, calls);
  expect(await elsewhere?.then(toldOf)).toEqual(["APPLIED"]);
  abort.abort();
  expect(await held?.then(toldOf)).toEqual(["DEADLINE_EXCEEDED"]);
  expect(await next?.then(toldOf)).toEqual(["APPLIED"]);
  await session.abortTransaction();
  await session.endSession();
  expect(await stored("held")).toMatchObject({ title: "tea" });
  expect(await stored("behind")).toBeNull();
});

test("push: atomic requests at documents another program holds open → other devices' mutations go on meanwhile", async () => {
  const ids = ["kept-1", "kept-2", "kept-3"];
  for (const id of ids) await noted(id);
  const session = fixture.database.client.startSession();
  session.startTransaction();
  await fixture.notes.updateMany({ _id: { $in: ids } }, { $set: { body: "theirs" } }, { session });
  const kept = ids.map((id, i): CallToGather => {
    const mutations = [update(id, { title: "mine" }), create(`with ${id}`, ofAna)];
    return { mutations, device: `kept ${i}`, atomic: true };
  });
  const pending = await gather(fixture, [
    ...kept,
    { mutations: [create("goes on", ofAna)], device: "other" },
  ]);
  let isTold = false;
  void Promise.race(pending.slice(0, ids.length)).then(() => {
    isTold = true;
  });
  expect(await pending.at(-1)?.then(toldOf)).toEqual(["APPLIED"]);
  expect(isTold).toBe(false);
  await session.commitTransaction();
  await session.endSession();
  const results = await Promise.all(pending.slice(0, ids.length));
  expect(results.flatMap(toldOf)).toEqual(new Array(6).fill("APPLIED"));
});

test("push: a document never let go → CONTENTION for its call, and what it sent after it isn't tried", async () => {
  await noted("stuck");
  const session = fixture.database.client.startSession();
  session.startTransaction();
  await fixture.notes.updateOne({ _id: "stuck" }, { $set: { body: "theirs" } }, { session });
  const calls: CallToGather[] = [
    { mutations: [update("stuck", { title: "mine" }), create("behind stuck", ofAna)], device: "stuck" },
    { mutations: [create("beside stuck", ofAna)], device: "other" },
  ];
  const [stuck, beside] = await gather(fixture, calls);
  expect(await beside?.then(toldOf)).toEqual(["APPLIED"]);
  expect(await stuck).toMatchObject({
    reason: { reason: "CONTENTION", details: { retryAfterMs: expect.any(Number) } },
  });
  await session.abortTransaction();
  await session.endSession();
  expect(await stored("behind stuck")).toBeNull();
});

test("push: a device sends more than may wait → OVERLOADED with retry, nothing of that call pushed; others unhindered", async () => {
  const requests = Array.from({ length: QUEUE_LIMITS.laneMutationsMax / 1_000 + 1 }, (_, request) =>
    Array.from({ length: 1_000 }, (_, i) => remove(`absent-${request}-${i}`)),
  );
  const flood = requests.map((mutations) => ({ mutations, device: "flood" }));
  const calls: CallToGather[] = [...flood, { mutations: [create("unhindered", ofAna)], device: "quiet" }];
  const results = await Promise.all(await gather(fixture, calls));
  const refused = results.slice(0, -1).filter(({ status }) => status === "rejected");
  expect(refused).toMatchObject([
    { reason: { reason: "OVERLOADED", details: { retryAfterMs: expect.any(Number) } } },
  ]);
  expect(results.at(-1)).toMatchObject({ status: "fulfilled" });
  const lost = requests[results.indexOf(refused[0] as (typeof results)[number])] ?? [];
  const ids = lost.map(({ mutationId }) => mutationId);
  expect(await fixture.ledger.receipts.countDocuments({ _id: { $in: ids } })).toBe(0);
});

test("push: closed with calls on their way → all of them told; later calls SHUTTING_DOWN", async () => {
  const own = await pushFixture();
  const calls = Array.from({ length: PUSH_SESSIONS * 3 }, (_, i) => ({
    mutations: [create(`closing-${i}`, ofAna)],
    device: `phone ${i}`,
    atomic: i % 3 === 0,
  }));
  const pending = await gather(own, calls);
  await own.push.close();
  const late = send(own, [create("late", ofAna)]);
  await expect(late).rejects.toMatchObject({ reason: "SHUTTING_DOWN" });
  const told = (await Promise.all(pending)).flatMap(toldOf);
  expect(told).toEqual(new Array(calls.length).fill("APPLIED"));
  await own.close();
});
