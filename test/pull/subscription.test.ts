// Single rules of subscriptions, where a random world would only say that something broke.
import { describe, expect, it } from "vitest";
import {
  align,
  checkpointed,
  left,
  moved,
  NOTHING,
  removedUpTo,
  type Subscription,
} from "../../src/pull/subscription.ts";

const FEED = "todos/user:ana";
const TEAM = "todos/user:team";
const CITIES = "cities/public";

function subscribed(head: number, ...feeds: readonly string[]): Subscription {
  const { subscription } = align(NOTHING, { head, horizon: 0, feeds });
  return checkpointed(subscription, head);
}

describe("subscription: feeds", () => {
  it("nothing changed → the very same subscription, so no new token", () => {
    const before = subscribed(10, FEED);
    expect(align(before, { head: 12, horizon: 3, feeds: [FEED] }).subscription).toBe(before);
  });

  it("added → the position falls to 0, what was delivered stays so by floors", () => {
    const { subscription } = align(subscribed(10, FEED), { head: 12, horizon: 0, feeds: [FEED, TEAM] });
    expect(subscription).toMatchObject({ position: 0, checkpoint: 10 });
    expect(Object.fromEntries(subscription.held)).toEqual({
      [FEED]: { floor: 10, join: 0, cover: 0 },
      [TEAM]: { floor: 0, join: 12, cover: 12 },
    });
  });

  it("added just at a checkpoint → covered by a later one only, since that one knew nothing of it", () => {
    const { subscription } = align(subscribed(10, FEED), { head: 10, horizon: 0, feeds: [FEED, TEAM] });
    expect(subscription.held.get(TEAM)).toEqual({ floor: 0, join: 10, cover: 11 });
  });

  it("taken away, part of it removed, granted again → held anew, what left since told as before", () => {
    const before = moved(subscribed(10, FEED, TEAM), 15);
    const gone = align(before, { head: 20, horizon: 0, feeds: [FEED] }).subscription;
    expect(gone.leaving.get(TEAM)).toEqual({ done: 0, join: 15 });
    const back = align(removedUpTo(gone, 7), { head: 25, horizon: 0, feeds: [FEED, TEAM] }).subscription;
    expect(back.leaving.size).toBe(0);
    expect(back.held.get(TEAM)).toEqual({ floor: 0, join: 15, cover: 25 });
    expect(left(gone).leaving.size).toBe(0);
  });
});

describe("subscription: horizon", () => {
  it("only some collections stand below it → only they start over", () => {
    const before = subscribed(10, FEED);
    // The cities were added at 30 and not yet read.
    const { subscription } = align(before, { head: 30, horizon: 0, feeds: [FEED, CITIES] });
    const { subscription: after, reset } = align(subscription, {
      head: 40,
      horizon: 20,
      feeds: [FEED, CITIES],
    });
    expect(reset).toEqual(["todos"]);
    expect(Object.fromEntries(after.held)).toEqual({
      [CITIES]: { floor: 0, join: 30, cover: 30 },
      [FEED]: { floor: 0, join: 40, cover: 40 },
    });
    expect(after).toMatchObject({ position: 0, checkpoint: 10 });
  });

  it("a feed just added, but holding what another left to it → starts over, too", () => {
    const gone = align(subscribed(10, TEAM), { head: 10, horizon: 0, feeds: [FEED] }).subscription;
    const moving = left(gone);
    // A record of both stays with the client through FEED; its leaver may be among those dropped at 15.
    expect(align(moving, { head: 20, horizon: 15, feeds: [FEED] }).reset).toBe("all");
  });

  it("all collections below it → all start over, with nothing kept", () => {
    const { subscription, reset } = align(subscribed(10, FEED, CITIES), {
      head: 30,
      horizon: 11,
      feeds: [FEED],
    });
    expect(reset).toBe("all");
    expect(subscription).toMatchObject({ position: 0, checkpoint: 0 });
    expect([...subscription.held.keys()]).toEqual([FEED]);
  });

  it("a feed taken away whose leavers are gone → its collection starts over", () => {
    const gone = align(subscribed(10, FEED, CITIES), { head: 12, horizon: 0, feeds: [CITIES] }).subscription;
    expect(align(moved(gone, 30), { head: 30, horizon: 20, feeds: [CITIES] }).reset).toEqual(["todos"]);
  });
});
