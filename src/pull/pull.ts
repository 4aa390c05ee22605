// Pull: what the edge calls. Streams and pages from one machinery; one hub per node behind all of them.
import type { Frame } from "../frames/frame.ts";
import type { CommittedAppend } from "../log/append.ts";
import type { Log } from "../log/log.ts";
import type { Clock } from "../model/clock.ts";
import { invariant } from "../model/invariant.ts";
import type { Logger } from "../model/logger.ts";
import type { Principal } from "../model/principal.ts";
import type { Cursor, ListRequest, PullRequest } from "../model/pull-request.ts";
import { SyncError } from "../model/sync-error.ts";
import type { Collection } from "../schema/collection.ts";
import type { Schema } from "../schema/schema.ts";
import { Alarms } from "./alarms.ts";
import { ClientFlow, type Flow, type FlowOptions, type FlowReader } from "./flow.ts";
import { framesOf } from "./frames-of.ts";
import { Hub } from "./hub.ts";
import { PackMaker } from "./pack-maker.ts";
import type { PullServices } from "./services.ts";
import { defaultPullSettings, type PullSettings } from "./settings.ts";
import { Turns } from "./turns.ts";

export interface PullOptions {
  readonly log: Log;
  readonly schema: Schema;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Those not given are as in `defaultPullSettings`. */
  readonly settings?: Partial<PullSettings>;
  /** In [0, 1); spreads the ages at which streams end. */
  readonly random?: () => number;
}

export interface Page {
  readonly frames: readonly Frame[];
  /** Where a client stands that has applied them. */
  readonly cursor: Cursor;
}

export interface Pull {
  /** A client's frames, to be taken as it can receive them. @throws SyncError SHUTTING_DOWN */
  openFlow(principal: Principal, request: PullRequest, reader: FlowReader): Flow;
  /** One page: ends at about `batchBytesMax`, at the head, or when the wait for news is over. @throws as a flow's take */
  listChanges(principal: Principal, request: ListRequest, signal: AbortSignal): Promise<Page>;
  /** Streams and pages open now. */
  readonly subscribers: number;
  /** Whether it has heard of the log's state. */
  readonly isInformed: boolean;
  /** Whether the log, as far as this node has heard, is made by this very schema of a collection. */
  isPresent(collection: Pick<Collection, "name" | "fingerprint">): boolean;
  /** The leader on this node has appended: spares the hub a read. Appends must be given in order. */
  onAppend(append: CommittedAppend): void;
  /** All streams end with Closed(RECONNECT); new calls are refused. */
  drain(retryAfterMs: number): void;
  /** Ends following the log; streams still open end as if drained. */
  close(): Promise<void>;
}

const HEARTBEAT_MS = 15_000;
const HEARTBEAT_MS_MIN = 1_000;
const HEARTBEAT_MS_MAX = 300_000;
const WAIT_MS_MAX = 60_000;

/** Streams opened together don't end together: ages differ by a fifth. */
const AGE_SPREAD = 0.2;
/** Nor do they beat together. */
const BEAT_SPREAD = 0.25;

/** A page is made again when its schema has changed meanwhile. */
const PAGE_RUNS_MAX = 5;
const RETRY_MS = 500;

export function createPull(options: PullOptions): Pull {
  const { log, schema, clock, logger, random = Math.random } = options;
  const settings = { ...defaultPullSettings, ...options.settings };
  const shared = { log, schema, clock, logger: logger.child({ part: "pull" }), settings };
  const hub = new Hub(shared);
  const packs = new PackMaker(shared);
  const alarms = new Alarms(clock);
  const flows = new Set<ClientFlow>();
  const turns = new Turns(settings.readsAtOnceMax);
  const services: PullServices = { log, schema, clock, settings, hub, alarms, turns, packs, flows };
  let drained: { readonly retryAfterMs: number } | undefined;

  function open(how: Omit<FlowOptions, "services" | "agedAtMs" | "beatMs">): ClientFlow {
    if (drained) throw new SyncError("SHUTTING_DOWN", "the server is going away; connect again", drained);
    const ageMs = settings.streamAgeMaxMs * (1 - AGE_SPREAD * random());
    const beatMs = (how.heartbeatIntervalMs ?? Number.POSITIVE_INFINITY) * (1 - BEAT_SPREAD * random());
    return new ClientFlow({ ...how, services, beatMs, agedAtMs: clock.nowMs() + ageMs });
  }

  function openFlow(principal: Principal, request: PullRequest, reader: FlowReader): Flow {
    const asked = request.heartbeatIntervalMs ?? HEARTBEAT_MS;
    const heartbeatIntervalMs = Math.min(HEARTBEAT_MS_MAX, Math.max(HEARTBEAT_MS_MIN, asked));
    const until = request.mode === "CATCH_UP" ? "caught-up" : "forever";
    const { totalBytesMax } = request;
    return open({ principal, request, heartbeatIntervalMs, totalBytesMax, until, reader });
  }

  function drain(retryAfterMs: number): void {
    drained = { retryAfterMs };
    for (const flow of flows) flow.drain(retryAfterMs);
  }

  return {
    openFlow,

    async listChanges(principal, request, signal) {
      const newsByMs = clock.nowMs() + Math.min(WAIT_MS_MAX, request.waitMs);
      const totalBytesMax = request.batchBytesMax;
      for (let run = 1; run <= PAGE_RUNS_MAX; run++) {
        const { times } = hub.withheld;
        const until = { newsByMs };
        const about = { principal, request, heartbeatIntervalMs: undefined, totalBytesMax, until };
        const page = await pageOf((reader) => open({ ...about, reader }), signal);
        // Frames of a page wait for its last: some may hold what is withheld by now.
        if (hub.withheld.times === times) return page;
      }
      throw new SyncError("CONTENTION", "the schema keeps changing; try again", { retryAfterMs: RETRY_MS });
    },

    get subscribers() {
      return hub.listeners;
    },

    get isInformed() {
      return hub.withheld.isInformed;
    },

    isPresent: (collection) => hub.withheld.isPresent(collection),
    onAppend: (append) => hub.onAppend(append),
    drain,

    async close() {
      drain(0);
      alarms.close();
      await packs.close();
      await hub.close();
    },
  };
}

async function pageOf(open: (reader: FlowReader) => Flow, signal: AbortSignal): Promise<Page> {
  let flow: Flow | undefined;
  const opened = (reader: FlowReader) => {
    flow = open(reader);
    return flow;
  };
  const frames: Frame[] = [];
  for await (const frame of framesOf(opened, signal)) if (frame.kind !== "closed") frames.push(frame);
  invariant(flow, "reading a flow opens it");
  return { frames, cursor: flow.cursor };
}
