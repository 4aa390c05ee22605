// What `tidemark pull` prints of a stream: why it catches up, on what, and what each collection brought.
import { PassThrough } from "node:stream";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { type ChangeSchema, RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import { UnavailableReason } from "#gen/tidemark/v1/frame_pb.js";
import { PullChangesResponseSchema } from "#gen/tidemark/v1/pull_changes_pb.js";
import { PullPrinter } from "../../src/cli/pull-printer.ts";

type Frame = NonNullable<MessageInitShape<typeof PullChangesResponseSchema>["frame"]>;
type ChangeInit = MessageInitShape<typeof ChangeSchema>;

const put = (collection: string, recordId: string): ChangeInit => {
  const record = { form: { case: "json" as const, value: {} } };
  return { collection, recordId, kind: { case: "put", value: { record } } };
};
const revoked = (collection: string, recordId: string): ChangeInit => {
  return { collection, recordId, kind: { case: "remove", value: { reason: RemoveReason.REVOKED } } };
};
const opened = (backlog: number, ...unavailable: string[]): Frame => {
  const reason = UnavailableReason.FORBIDDEN;
  const missing = unavailable.map((collection) => ({ collection, reason }));
  return { case: "opened", value: { backlog: BigInt(backlog), unavailable: missing } };
};
const batch = (...changes: ChangeInit[]): Frame => ({ case: "batch", value: { changes } });
const many = (count: number) => Array.from({ length: count }, (_, n) => put("cities", `c${n}`));
const checkpoint: Frame = { case: "checkpoint", value: {} };
const reset: Frame = { case: "reset", value: {} };

/** What is printed, notes and changes as they come; times are left out. */
function printed(streams: readonly Frame[][], showAll = false): string[] {
  const screen = new PassThrough({ encoding: "utf8" });
  const terminal = {
    out: screen,
    err: screen,
    isScreen: false,
    signal: new AbortController().signal,
    env: {},
  };
  const printer = new PullPrinter(terminal, { url: "http://x", showAll, read: () => ({ title: "T" }) });
  for (const frames of streams) {
    printer.connects();
    for (const frame of frames) printer.frame(create(PullChangesResponseSchema, { frame }));
  }
  const text: string = screen.read() ?? "";
  return text
    .trimEnd()
    .replaceAll(/\d\.\d s/g, "… s")
    .split("\n");
}

describe("pull: what it prints", () => {
  test("first sync of few records → each, then how many of which collection", () => {
    expect(
      printed([[opened(4), batch(put("todos", "a"), put("lists", "l"), put("todos", "b")), checkpoint]]),
    ).toEqual([
      "· connected to http://x; up to 4 changes to catch up on",
      '+ todos/a  title="T"',
      '+ lists/l  title="T"',
      '+ todos/b  title="T"',
      "· caught up in … s: lists 1 · todos 2",
    ]);
  });

  test("first sync of many records → their numbers alone; with --all each of them", () => {
    const frames = [opened(1_060), batch(...many(1_050), put("lists", "l")), checkpoint];
    expect(printed([frames])).toEqual([
      "· connected to http://x; up to 1,060 changes to catch up on",
      "· caught up in … s: cities 1,050 · lists 1",
    ]);
    expect(printed([frames], true)).toHaveLength(2 + 1_051);
  });

  test("a grant revoked and given again → said so once each, not as a connection", () => {
    const live = [put("todos", "later")];
    const revocation = [
      opened(3),
      batch(revoked("lists", "l"), revoked("todos", "a")),
      opened(1),
      checkpoint,
    ];
    const grant = [opened(2), batch(put("lists", "l"), put("todos", "a")), checkpoint];
    expect(printed([[opened(0), checkpoint, batch(...live), ...revocation, ...grant]])).toEqual([
      "· connected to http://x; up to 0 changes to catch up on",
      "· caught up in … s: nothing new",
      '+ todos/later  title="T"',
      "· what you may see has changed; up to 3 changes to catch up on",
      "- lists/l  no longer granted",
      "- todos/a  no longer granted",
      "· caught up in … s: lists 1 gone · todos 1 gone",
      "· what you may see has changed; up to 2 changes to catch up on",
      '+ lists/l  title="T"',
      '+ todos/a  title="T"',
      "· caught up in … s: lists 1 · todos 1",
    ]);
  });

  test("puts and removes of one collection → told apart", () => {
    const changes = [put("todos", "a"), put("todos", "b"), revoked("todos", "c")];
    expect(printed([[opened(3), batch(...changes), checkpoint]]).at(-1)).toBe(
      "· caught up in … s: todos 2, 1 gone",
    );
  });

  test("a record that leaves by two scopes at once → gone once; put again and taken again → both told", () => {
    const changes = [revoked("todos", "a"), revoked("todos", "a"), put("todos", "a"), revoked("todos", "a")];
    expect(printed([[opened(4), batch(...changes), checkpoint]]).slice(1)).toEqual([
      "- todos/a  no longer granted",
      '+ todos/a  title="T"',
      "- todos/a  no longer granted",
      "· caught up in … s: todos 1, 1 gone",
    ]);
  });

  test("removes once it has caught up → each", () => {
    expect(
      printed([[opened(0), checkpoint, batch(revoked("todos", "a"), revoked("todos", "a"))]]),
    ).toHaveLength(4);
  });

  test("much to catch up on in the middle of a short catch-up → no further lines", () => {
    const lines = printed([
      [opened(1), batch(put("todos", "a")), opened(1_000), batch(...many(999)), checkpoint],
    ]);
    expect(lines.slice(1)).toEqual(['+ todos/a  title="T"', "· caught up in … s: cities 999 · todos 1"]);
  });

  test("a stream broken off in its catch-up → a new connection, its numbers from 0", () => {
    expect(
      printed([
        [opened(2), batch(put("todos", "a"))],
        [opened(1), batch(put("todos", "b")), checkpoint],
      ]).slice(2),
    ).toEqual([
      "· connected to http://x; up to 1 change to catch up on",
      '+ todos/b  title="T"',
      "· caught up in … s: todos 1",
    ]);
  });

  test("a reset → starting over, not a change of what one may see", () => {
    expect(
      printed([[opened(0), checkpoint, reset, opened(1), batch(put("todos", "a")), checkpoint]]).slice(2),
    ).toEqual([
      "· the cursor no longer serves; starting over; up to 1 change to catch up on",
      '+ todos/a  title="T"',
      "· caught up in … s: todos 1",
    ]);
  });

  test("a collection out of reach → told once in a catch-up, however often it is opened", () => {
    expect(printed([[opened(0, "lists"), opened(0, "lists"), checkpoint]])).toEqual([
      "· connected to http://x; up to 0 changes to catch up on",
      "· lists: you hold no scope of it",
      "· caught up in … s: nothing new",
    ]);
  });

  test("ids and names that would steer the terminal → printed without what it obeys", () => {
    const id = "a\u001b[2J\n- todos/b\u202e";
    expect(printed([[opened(1, "x\u009b2J"), batch(put("todos", id)), checkpoint]]).slice(1, 3)).toEqual([
      "· x�2J: you hold no scope of it",
      '+ todos/a�[2J�- todos/b�  title="T"',
    ]);
  });
});
