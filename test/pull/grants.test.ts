// What a change of grants or of the selection does to a client that resumes.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Pull } from "../../src/pull/pull.ts";
import { Device } from "./device.ts";
import { FakeClock } from "./fake-clock.ts";
import { catchUp, decoded, type Fixture, followAll, openFixture, principal } from "./fixture.ts";
import { linesOf } from "./frame-text.ts";
import { ANA, put, remove, TEAM, todo, type Write } from "./world.ts";

let fixture: Fixture;
let pull: Pull;
let ana: Device;

beforeEach(async () => {
  fixture = await openFixture();
  pull = fixture.node(new FakeClock());
  ana = new Device(principal("ana", ["user:ana"]));
});

afterEach(() => fixture.close());

const lisbon: Write = {
  collection: "cities",
  id: "lisbon",
  row: { feeds: ["cities/public"], record: new Uint8Array([10, 1, 97]) },
};

describe("pull: grants", () => {
  it("a scope granted → Opened at position 0, its records whole, the others not again", async () => {
    await fixture.write([put("mine"), put("ours", {}, [TEAM])]);
    await ana.catchUp(pull);
    await fixture.grant("ana", ["user:team"], [put("mine", { votes: 1 })]);
    await ana
      .connect(pull, catchUp)
      .sees(
        "opened 0/2 +2",
        "put todos/ours@2",
        "delta todos/mine@3 8",
        "batch 3",
        "checkpoint 3",
        "closed CAUGHT_UP",
      );
  });

  it("a record already held that changed since, in a feed just granted, too → a delta", async () => {
    await fixture.write([put("both", {}, [ANA, TEAM])]);
    await ana.catchUp(pull);
    await fixture.grant("ana", ["user:team"], [put("both", { votes: 1 }, [ANA, TEAM])]);
    await ana.connect(pull, catchUp).sees("opened 0/1 +2", "delta todos/both@2 8", "batch 2", "checkpoint 2");
  });

  it("leavers from before the scope was granted → not a word of them", async () => {
    await fixture.write([put("gone", {}, [TEAM])]);
    await ana.catchUp(pull);
    await fixture.write([remove("gone")]);
    await fixture.grant("ana", ["user:team"]);
    await ana.connect(pull, catchUp).sees("opened 0/1 +1", "checkpoint 2");
  });

  it("a scope revoked → removes of what no other feed holds, then the feed is forgotten", async () => {
    await fixture.grant(
      "ana",
      ["user:team"],
      [put("ours", {}, [TEAM]), put("both", {}, [ANA, TEAM]), put("left", {}, [TEAM])],
    );
    await ana.catchUp(pull);
    await fixture.grant("ana", [], [remove("left"), put("new", {}, [TEAM])]);
    await ana
      .connect(pull, catchUp)
      .sees(
        ...["opened 3/3 +4", "remove todos/ours@1 REVOKED", "remove todos/left@4 REVOKED"],
        ...["remove todos/new@5 REVOKED", "batch 3", "opened 3/3 +0", "checkpoint 5", "closed CAUGHT_UP"],
      );
    expect(ana.holds).toEqual(["todos/both"]);
    await ana.connect(pull, catchUp).sees("opened 5/5 +0", "checkpoint 5", "closed CAUGHT_UP");
  });

  it("revoked and broken off before the last remove → the removes come again", async () => {
    await fixture.grant("ana", ["user:team"], [put("a", {}, [TEAM]), put("b", {}, [TEAM])]);
    await ana.catchUp(pull);
    await fixture.grant("ana", []);
    await ana
      .connect(pull, { batchBytesMax: 1 })
      .sees("opened 2/2 +2", "remove todos/a@1 REVOKED", "batch 2");
    ana.disconnect();
    await ana
      .connect(pull, catchUp)
      .sees(
        "opened 2/2 +2",
        "remove todos/a@1 REVOKED",
        "remove todos/b@2 REVOKED",
        "batch 2",
        "opened 2/2 +0",
      );
  });

  it("revoked, broken off, granted again → what was removed comes back whole", async () => {
    await fixture.grant("ana", ["user:team"], [put("a", {}, [TEAM]), put("b", {}, [TEAM])]);
    await ana.catchUp(pull);
    await fixture.grant("ana", []);
    await ana
      .connect(pull, { batchBytesMax: 1 })
      .sees("opened 2/2 +2", "remove todos/a@1 REVOKED", "batch 2");
    ana.disconnect();
    await fixture.grant("ana", ["user:team"]);
    await ana
      .connect(pull, catchUp)
      .sees("opened 0/2 +2", "put todos/a@1", "put todos/b@2", "batch 2", "checkpoint 2");
    expect(ana.holds).toEqual(["todos/a", "todos/b"]);
  });

  it("one scope for another in which the records are, too → nothing is removed", async () => {
    await fixture.grant("ana", ["user:team"], [put("a", {}, [TEAM, "todos/user:crew"])]);
    await ana.catchUp(pull);
    await fixture.grant("ana", ["user:crew"]);
    await ana
      .connect(pull, catchUp)
      .sees("opened 0/1 +2", "opened 0/1 +1", "put todos/a@1", "batch 1", "checkpoint 1", "closed CAUGHT_UP");
  });
});

describe("pull: selections", () => {
  beforeEach(async () => {
    ana.principal = principal("ana", ["user:ana", "public"]);
    await fixture.write([put("a"), lisbon]);
  });

  it("none → all collections the principal may see", async () => {
    await ana.connect(pull, catchUp).sees("opened 0/0 +2", "put todos/a@1", "put cities/lisbon@2", "batch 2");
  });

  it("unknown and forbidden collections → unavailable; the rest flows", async () => {
    ana.principal = principal("ana", ["user:ana"]);
    await ana
      .connect(pull, { ...catchUp, collections: ["nothing", "todos", "cities"] })
      .sees(
        ...["opened 0/0 +1", "unavailable nothing UNKNOWN_COLLECTION", "unavailable cities FORBIDDEN"],
        ...["put todos/a@1", "batch 1", "checkpoint 2", "closed CAUGHT_UP"],
      );
  });

  it("narrowed → no removes; widened again → whole", async () => {
    await ana.catchUp(pull);
    await ana
      .connect(pull, { ...catchUp, collections: ["todos"] })
      .sees("opened 2/2 +0", "checkpoint 2", "closed CAUGHT_UP");
    await ana
      .connect(pull, { ...catchUp, collections: [] })
      .sees("opened 0/2 +1", "put cities/lisbon@2", "batch 2", "checkpoint 2", "closed CAUGHT_UP");
  });

  it("500 scopes, all but one taken away → removes of exactly what that one doesn't hold, in one stream", async () => {
    const scopes = Array.from({ length: 500 }, (_, n) => `user:${n}`);
    const shared = put("shared", {}, ["todos/user:3", "todos/user:499"]);
    await fixture.write([...scopes.map((scope, n) => put(`t${n}`, {}, [`todos/${scope}`])), shared]);
    ana.principal = principal("ana", scopes);
    await ana.catchUp(pull);
    expect(ana.holds).toHaveLength(501);
    ana.principal = principal("ana", ["user:499"]);
    ana.frames.length = 0;
    await ana.catchUp(pull);
    expect(ana.holds).toEqual(["todos/shared", "todos/t499"]);
    const lines = ana.frames.flatMap(linesOf);
    expect(lines.filter((line) => line.startsWith("remove"))).toHaveLength(499);
    expect(lines.filter((line) => /^(put|delta)/.test(line))).toEqual([]);
  });

  it("more than 200 feeds → all of them, in order; the cursor stays short", async () => {
    const scopes = Array.from({ length: 450 }, (_, n) => `user:${n}`);
    await fixture.write(scopes.map((scope, n) => put(`t${n}`, {}, [`todos/${scope}`])));
    ana.principal = principal("ana", scopes);
    await ana.catchUp(pull);
    expect(ana.holds).toHaveLength(450);
    const versions = [...ana.client.records.values()].map(({ version }) => version);
    expect(versions).toEqual([...versions].sort((a, b) => Number(a - b)));
    expect(ana.cursor?.subscription.length).toBeLessThanOrEqual(1024);
    await fixture.write([put("t7", { votes: 1 }, ["todos/user:7"])]);
    await ana
      .connect(pull, catchUp)
      .sees("opened 452/452 +1", "delta todos/t7@453 8", "batch 453", "checkpoint 453");
  });
});

describe("pull: services", () => {
  const service = { ...principal("ana", ["user:ana"]), isService: true };

  beforeEach(async () => {
    await fixture.write([put("mine"), put("theirs", {}, ["todos/user:ben", TEAM]), lisbon]);
  });

  it("all of every collection, in one feed each; moves between scopes are puts, deletes and departures removes", async () => {
    ana.principal = service;
    await ana
      .connect(pull)
      .sees(
        "opened 0/0 +3",
        "put todos/mine@1",
        "put todos/theirs@2",
        "put cities/lisbon@3",
        "batch 3",
        "checkpoint 3",
      );
    pull.onAppend(await fixture.write([put("theirs", { votes: 1 }, ["todos/user:cy"])]));
    await ana.sees("put todos/theirs@6", "batch 6", "checkpoint 6");
    pull.onAppend(await fixture.write([put("theirs", { votes: 2 }, ["todos/user:cy"])]));
    await ana.sees("delta todos/theirs@7 8", "batch 7", "checkpoint 7");
    pull.onAppend(
      await fixture.write([{ ...put("theirs"), row: { feeds: [], record: todo("theirs") } }, remove("mine")]),
    );
    await ana.sees(
      "remove todos/theirs@8 LEFT_SCOPE",
      "remove todos/mine@9 DELETED",
      "batch 9",
      "checkpoint 9",
    );
    expect(ana.holds).toEqual(["cities/lisbon"]);
  });

  it("some collections → those alone; a page → the same", async () => {
    ana.principal = service;
    await ana
      .connect(pull, { ...catchUp, collections: ["cities", "nothing"] })
      .sees(
        "opened 0/0 +1",
        "unavailable nothing UNKNOWN_COLLECTION",
        "put cities/lisbon@3",
        "batch 3",
        "checkpoint 3",
      );
    const { signal } = new AbortController();
    const page = await pull.listChanges(service, { ...followAll, waitMs: 0 }, signal);
    expect(page.frames.flatMap((frame) => linesOf(decoded(frame)))).toEqual([
      ...[
        "opened 0/0 +3",
        "put todos/mine@1",
        "put todos/theirs@2",
        "put cities/lisbon@3",
        "batch 3",
        "checkpoint 3",
      ],
    ]);
  });

  it("no service any more → removes of all that isn't its own, also of what came or left meanwhile", async () => {
    ana.principal = service;
    await ana.catchUp(pull);
    await fixture.write([remove("theirs"), put("new", {}, [TEAM]), put("mine", { votes: 1 })]);
    ana.principal = principal("ana", ["user:ana"]);
    await ana
      .connect(pull, catchUp)
      .sees(
        ...["opened 0/3 +6", "remove cities/lisbon@3 REVOKED", "remove todos/theirs@4 REVOKED"],
        ...["remove todos/theirs@5 REVOKED", "remove todos/new@6 REVOKED", "batch 0"],
        ...["opened 0/3 +1", "put todos/mine@7", "batch 7", "checkpoint 7", "closed CAUGHT_UP"],
      );
    expect(ana.holds).toEqual(["todos/mine"]);
    ana.principal = service;
    await fixture.write([put("last", {}, [TEAM])]);
    await ana.catchUp(pull);
    expect(ana.holds).toEqual(["cities/lisbon", "todos/last", "todos/mine", "todos/new"]);
  });

  it("a cursor of a service, resumed by another principal → reset CURSOR", async () => {
    ana.principal = service;
    await ana.catchUp(pull);
    ana.principal = principal("ben", []);
    await ana
      .connect(pull, catchUp)
      .sees("reset CURSOR", "opened 0/0 +0", "checkpoint 3", "closed CAUGHT_UP");
    expect(ana.holds).toEqual([]);
  });
});
