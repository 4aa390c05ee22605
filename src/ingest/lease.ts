// The lease on leading: one document that its holder keeps beating. Nobody's clock is compared with another's: a
// candidate takes over when it has watched the same beat for long enough by its own. A lease only keeps the peace; that
// two never write the log is the fence's doing (see log/append.ts).
import { randomUUID } from "node:crypto";
import { type Collection, MongoServerError, type ServerSessionId } from "mongodb";
import type { Log } from "../log/log.ts";
import type { Clock } from "../model/clock.ts";
import { classOf } from "../mongo/error-class.ts";
import { endInSessions } from "../mongo/nodes.ts";

interface LeaseDocument {
  _id: "ingest";
  /** Empty: given up. */
  holder: string;
  beat: number;
  /** The sessions the last few holders append in, the present one's last. */
  sessions: ServerSessionId[];
}

const SESSIONS_MAX = 4;

export interface Lease {
  /**
   * Takes the lease if it is free, or if its beat has been seen unchanged for `staleMs`: call it again and again.
   * @param options.freeToo false: a lease that was given up must have been seen for as long as one that is held.
   */
  acquire(options: { staleMs: number; freeToo: boolean }): Promise<boolean>;
  /** False: another holds it. */
  renew(): Promise<boolean>;
  /** Gives it up, if it is still held, so that others needn't wait. */
  release(): Promise<void>;
}

export interface LeaseOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** For operators. */
  readonly nodeId: string;
  /** In which the holder will append. */
  readonly session: ServerSessionId;
}

export function createLease({ log, clock, nodeId, session }: LeaseOptions): Lease {
  const leases: Collection<LeaseDocument> = log.db.collection("lease");
  // A node that starts anew is another holder.
  const holder = `${nodeId}/${randomUUID()}`;
  let seen: { readonly text: string; readonly sinceMs: number } | undefined;
  return {
    async acquire({ staleMs, freeToo }) {
      const found = await leases.findOne({ _id: "ingest" }, { readConcern: "majority" });
      const text = found ? `${found.holder} ${found.beat}` : "";
      if (seen?.text !== text) seen = { text, sinceMs: clock.nowMs() };
      const stale = clock.nowMs() - seen.sinceMs >= staleMs;
      const free = !found?.holder || found.holder === holder;
      if (!stale && !(free && freeToo)) return false;
      if (!found) return create(leases, { _id: "ingest", holder, beat: 1, sessions: [session] });
      const others = found.sessions.filter(({ id }) => id.toString("hex") !== session.id.toString("hex"));
      const sessions = [...others, session].slice(-SESSIONS_MAX);
      const { matchedCount } = await leases.updateOne(found, {
        $set: { holder, sessions },
        $inc: { beat: 1 },
      });
      if (matchedCount === 0) return false;
      // A holder that was killed may have left an append open: the server would let that block others for a minute,
      // which is waited for where it can't be asked.
      await endInSessions(log.client, others).catch(() => {});
      return true;
    },
    async renew() {
      const { matchedCount } = await leases.updateOne({ _id: "ingest", holder }, { $inc: { beat: 1 } });
      return matchedCount === 1;
    },
    async release() {
      await leases.updateOne({ _id: "ingest", holder }, { $set: { holder: "" }, $inc: { beat: 1 } });
    },
  };
}

async function create(leases: Collection<LeaseDocument>, first: LeaseDocument): Promise<boolean> {
  try {
    await leases.insertOne(first);
    return true;
  } catch (error) {
    if (error instanceof MongoServerError && classOf(error) === "duplicate-key") return false;
    throw error;
  }
}
