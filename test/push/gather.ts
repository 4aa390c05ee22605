// Calls that arrive together: two go first, each a group of its own, and while those are on their way all others gather,
// to be pushed as the next group. And a witness that tells which writes were committed together.
import { randomUUID } from "node:crypto";
import type { Mutation } from "../../src/model/mutation.ts";
import type { PushResult } from "../../src/push/push.ts";
import { GROUPS_MAX } from "../../src/push/pusher.ts";
import { create, type PushFixture, principal, type Sending } from "./push-fixture.ts";

export interface CallToGather extends Sending {
  readonly mutations: readonly Mutation[];
}

export type Gathered = PromiseSettledResult<PushResult>;

/** Makes the calls at once, so that all of them are in one group; their results in order, each as soon as it is there. */
export async function gather(
  { push }: Pick<PushFixture, "push">,
  calls: readonly CallToGather[],
): Promise<Promise<Gathered>[]> {
  const first = Array.from({ length: GROUPS_MAX }, (_, i) => ({
    mutations: [create(`first-${randomUUID()}`, { title: "first", ownerId: "ana" })],
    device: `first ${i}`,
  }));
  const ready = await Promise.all(
    [...first, ...calls].map(async (call: CallToGather) => ({
      call,
      who: await principal(call.as ?? "ana", {}, call.device),
    })),
  );
  // No await from here on: nothing of a group begun can end before the last call is in the queue.
  const results = ready.map(({ call, who }) => {
    const { mutations, atomic = false, recordForm = "JSON", signal = new AbortController().signal } = call;
    return push.pushMutations(who, { mutations, atomic, recordForm }, signal);
  });
  return results.slice(GROUPS_MAX).map(async (result) => (await Promise.allSettled([result]))[0]);
}

/** Outcome, or why not, of each mutation of a call. */
export function toldOf(result: Gathered): string[] {
  if (result.status === "rejected") return [String(Reflect.get(result.reason, "reason") ?? result.reason)];
  return result.value.receipts.map(({ outcome, rejection }) => rejection?.reason ?? outcome);
}

/** Watches the notes from now on; the function it gives ends that, and tells the ids written, commit by commit. */
export async function startWitness({ notes }: PushFixture): Promise<() => Promise<string[][]>> {
  const stream = notes.watch();
  await stream.tryNext();
  return async () => {
    await notes.insertOne({ _id: "witness's end" });
    const commits = new Map<string, string[]>();
    for (;;) {
      const event = await stream.next();
      if (!("documentKey" in event)) continue;
      const { _id } = event.documentKey;
      if (_id === "witness's end") break;
      const time = String(event.clusterTime);
      commits.set(time, [...(commits.get(time) ?? []), _id]);
    }
    await stream.close();
    await notes.deleteOne({ _id: "witness's end" });
    return [...commits.values()];
  };
}
