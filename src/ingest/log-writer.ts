// The log's writer while this node leads: the state it knows to be the log's, where in the stream it stands, and
// commits one after another. A position without changes is kept in memory and stored with the next append, or when
// someone waits for it: a push (P4), or readers who must not see checkpoints before.
import { randomUUID } from "node:crypto";
import type { Timestamp } from "mongodb";
import { append, type CommittedAppend } from "../log/append.ts";
import type { LeaverKey } from "../log/entry.ts";
import type { Log } from "../log/log.ts";
import { type CollectionState, type LogState, NOT_YET_KNOWN } from "../log/state.ts";
import type { Clock } from "../model/clock.ts";
import { later, type Position } from "./cluster-time.ts";
import { createDraft, type Draft } from "./draft.ts";
import type { IngestSettings } from "./settings.ts";

/** What a commit writes beside the draft. */
export interface Commit {
  readonly draft?: Draft;
  /** Leavers to remove; without a draft. */
  readonly drops?: readonly LeaverKey[];
  /** New state of these collections; `undefined`: it goes. */
  readonly collections?: ReadonlyMap<string, CollectionState | undefined>;
  /** Records were read at this time, which is beyond the position. */
  readonly readAt?: Timestamp;
  readonly state?: Partial<Pick<LogState, "term" | "source" | "schemas" | "horizon">>;
}

export interface LogWriter {
  /** As last committed. */
  readonly state: LogState;
  /** Everything up to here has been taken from the stream and is in the log. */
  readonly position: Position;
  /** Nothing may be read at an earlier time. */
  readonly floor: Timestamp;
  draft(): Draft;
  /** Forward only; the token always becomes this position's. */
  moveTo(position: Position): void;
  /** A push waits until the clock has reached this time. */
  expect(time: Timestamp): void;
  /** @throws FencedError when another node has written; whatever the database throws. */
  commit(commit: Commit): Promise<void>;
  /** Stores the position if someone waits for it or it has not been stored for long. */
  persistIfDue(): Promise<void>;
}

export interface LogWriterOptions {
  readonly log: Log;
  readonly state: LogState;
  /** Where to begin; undefined: at the state's own clock. */
  readonly position: Position;
  readonly clock: Clock;
  readonly settings: IngestSettings;
  /** Called after each commit, in order, before the next begins. */
  readonly onCommit: (committed: CommittedAppend, commit: Commit) => void;
}

export function createLogWriter({ log, clock, settings, onCommit, ...start }: LogWriterOptions): LogWriter {
  let { state, position } = start;
  let expected: Timestamp | undefined;
  let storedAtMs = clock.nowMs();
  const limits = { recordsMax: settings.recordsMax, bytesMax: settings.appendBytesMax };

  async function commit(change: Commit): Promise<void> {
    const { draft, readAt, drops } = change;
    const { time, token } = position;
    const known = state.settledAfter?.equals(NOT_YET_KNOWN) ? undefined : state.settledAfter;
    const settledAfter = readAt ? later(readAt, known) : known;
    const next = {
      ...change.state,
      clock: time,
      resumeToken: token,
      settledAfter: settledAfter?.greaterThan(time) ? settledAfter : undefined,
      collections: withCollections(state.collections, change.collections),
      head: draft?.head ?? state.head,
    };
    const committed = await append(
      log,
      { base: state, state: next, ...(drops && { drops }), ...draft?.contents() },
      randomUUID(),
    );
    state = committed.state;
    storedAtMs = clock.nowMs();
    if (expected && time.greaterThanOrEqual(expected)) expected = undefined;
    onCommit(committed, change);
  }

  function isDue(): boolean {
    const { time } = position;
    if (state.clock && time.lessThanOrEqual(state.clock)) return false;
    const awaited = [expected, state.settledAfter].some((point) => point && time.greaterThanOrEqual(point));
    return awaited || clock.nowMs() - storedAtMs >= settings.idlePersistMs;
  }

  return {
    get state() {
      return state;
    },
    get position() {
      return position;
    },
    get floor() {
      return later(position.time, state.settledAfter);
    },
    draft: () => createDraft(state.head, limits),
    moveTo({ time, token }) {
      position = { time: later(time, position.time), token };
    },
    expect(time) {
      expected = expected ? later(time, expected) : time;
    },
    commit,
    async persistIfDue() {
      if (isDue()) await commit({});
    },
  };
}

function withCollections(
  present: readonly CollectionState[],
  changed: Commit["collections"],
): readonly CollectionState[] {
  if (!changed?.size) return present;
  const all = new Map([
    ...present.map((state): [string, CollectionState] => [state.name, state]),
    ...changed,
  ]);
  return [...all.values()].filter((state) => state !== undefined);
}
