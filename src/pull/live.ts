// Live: from the hub's steps to one client, as long as it keeps up and its grants stay.
import { checkpointFrame, type Frame } from "../frames/frame.ts";
import type { CommitClock } from "../model/commit-clock.ts";
import type { Grants, Principal } from "../model/principal.ts";
import type { Selection } from "../model/pull-request.ts";
import type { Listener } from "./audiences.ts";
import type { Budget } from "./budget.ts";
import type { Client } from "./client.ts";
import type { Hub, Stand } from "./hub.ts";
import { LiveReader } from "./live-reader.ts";
import type { Sender } from "./sender.ts";

export interface Live {
  readonly hub: Hub;
  readonly listener: Listener;
  readonly client: Client;
  readonly sender: Sender;
  readonly budget: Budget;
  readonly principal: Principal;
  readonly request: Selection;
  /** Whether a checkpoint is wanted where nothing but the clock changed. */
  readonly wantsClock: () => boolean;
  /** Asked whenever there is nothing to send. */
  readonly isDone: () => boolean;
}

/** Where the last pass left the client. */
export interface Arrival {
  readonly stand: Stand;
  /** What memberships granted then. */
  readonly grants: Grants;
}

export type LiveEnd = "done" | "behind" | "refused";

/** Follows until the client is done or needs a pass; "refused": needs one at once, though it comes from one. */
export async function* runLive(live: Live, arrival: Arrival): AsyncGenerator<Frame, LiveEnd, undefined> {
  const { client, sender } = live;
  const reader = readerFor(live, arrival);
  /** The time of the last step taken, not yet told. */
  let untold: CommitClock | undefined;
  let isAccepted = false;
  for (;;) {
    const taken = reader.take();
    if (taken.kind === "behind") return isAccepted ? "behind" : "refused";
    isAccepted = true;
    if (taken.kind === "frame") yield* sender.send(taken.frame);
    else if (taken.kind === "step") {
      client.delivered(taken.step.head, "held");
      untold = taken.step.clock;
      sender.unsettle();
      if (taken.hadFrames && untold !== undefined) {
        yield* sender.sendCheckpoint(untold, taken.step.checkpoint(untold));
      }
    } else if (untold !== undefined && sender.isNewer(untold) && live.wantsClock()) {
      yield* sender.sendCheckpoint(untold, checkpointFrame(client.subscription.position, untold));
    } else if (live.isDone()) return "done";
    else yield* sender.idle();
  }
}

function readerFor(
  { hub, listener, client, budget, principal, request }: Live,
  arrival: Arrival,
): LiveReader {
  const { held, position } = client.subscription;
  return new LiveReader({
    hub,
    stand: arrival.stand,
    grants: arrival.grants,
    principal: principal.id,
    admits: (bytes) => budget.admitsAll(bytes),
    variant: {
      audience: hub.join(listener, [...held.keys()]),
      recordForm: request.recordForm,
      batchBytesMax: request.batchBytesMax,
    },
    position,
    // P2: passes may have gone by withheld entries since the client's checkpoint; what changed in them comes whole.
    takesDeltas: () =>
      client.isCovered && !request.wholeRecords && client.subscription.checkpoint >= position,
  });
}
