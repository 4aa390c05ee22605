// Closing groups: by cluster time alone, folded as far as they are closed, cut where one time would not fit.
import { Timestamp } from "mongodb";
import { expect, test } from "vitest";
import { firstGroup } from "../../src/ingest/group.ts";
import type { StreamEvent } from "../../src/ingest/stream-event.ts";

const at = (i: number) => new Timestamp({ t: 1, i });
const events = (...times: number[]): StreamEvent[] =>
  times.map((i, index) => ({ kind: "push", time: at(i), token: index }));

function group(times: readonly number[], openFrom: number | undefined, max = 100) {
  const found = firstGroup(events(...times), openFrom === undefined ? undefined : at(openFrom), max);
  return found && [found.time.getLowBitsUnsigned(), found.events.length, found.closed];
}

const cases: ReadonlyArray<readonly [string, readonly number[], number | undefined, number, unknown]> = [
  ["nothing waits → no group", [], undefined, 100, undefined],
  ["all closed → folded up to the latest", [1, 2, 2, 3], undefined, 100, [3, 4, true]],
  ["the last time open → the closed ones before it", [1, 2, 3, 3], 3, 100, [2, 2, true]],
  ["only an open time → alone, open", [3, 3], 3, 100, [3, 2, false]],
  ["too many closed → cut between times", [1, 2, 2, 3], undefined, 2, [1, 1, true]],
  ["cut exactly at a boundary", [1, 1, 2, 2], undefined, 2, [1, 2, true]],
  ["one time larger than the limit → its first part, open", [5, 5, 5], undefined, 2, [5, 2, false]],
  ["its last part → closed", [5, 5], undefined, 2, [5, 2, true]],
  ["an open time larger than the limit → its first part", [5, 5, 5], 5, 2, [5, 2, false]],
];

test.each(cases)("group: %s", (...[, times, openFrom, max, expected]) => {
  expect(group(times, openFrom, max)).toEqual(expected);
});
