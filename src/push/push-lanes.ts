// Pushes a group that met a conflict nothing explains (a document somebody holds open) once more, each device's
// mutations in a transaction of their own: the culprit's device is then known, and no other waits for longer than this.
import type { PushParts } from "./call.ts";
import { type CommitOptions, commitTogether, type Told } from "./commit.ts";
import { laneOf, type Ticket } from "./ticket.ts";

/** Lanes of one group at once: each has a session. */
export const LANES_AT_ONCE = 4;

/** Tells what it could push; gives the others, in order: what is single in its lane has nothing to gain from this. */
export async function pushLanes(
  parts: PushParts,
  tickets: readonly Ticket[],
  { run, tell }: { readonly run: CommitOptions; readonly tell: (ticket: Ticket, told: Told) => void },
): Promise<readonly Ticket[]> {
  const lanes = Map.groupBy(tickets, ({ call }) => laneOf(call));
  const left = new Set(tickets);
  const several = [...lanes.values()].filter(({ length }) => length > 1).values();
  const worker = async () => {
    for (const lane of several) {
      // Whatever it fails for, pushed alone it fails for the one mutation.
      const told = await commitTogether(parts, lane, run).catch(() => new Map<Ticket, Told>());
      for (const [ticket, what] of told) {
        left.delete(ticket);
        tell(ticket, what);
      }
    }
  };
  await Promise.all(Array.from({ length: LANES_AT_ONCE }, worker));
  return tickets.filter((ticket) => left.has(ticket));
}
