// The log's writer while this node leads: the state it makes of the log, where in the stream it stands, and commits
// one after another, the last of which may still be on its way while the next is prepared. A position without changes
// is kept in memory and stored with the next append, or when someone waits for it: a push (P4), or readers who must
// not see checkpoints before.
import { randomUUID } from "node:crypto";
import type { ClientSession, Timestamp } from "mongodb";
import { type Append, append, type CommittedAppend, stateAfter } from "../log/append.ts";
import type { LeaverKey } from "../log/entry.ts";
import type { Log } from "../log/log.ts";
import { type CollectionState, type LogState, NOT_YET_KNOWN } from "../log/state.ts";
import type { Clock } from "../model/clock.ts";
import { later, type Position } from "./cluster-time.ts";
import { createDraft, type Draft } from "./draft.ts";
import type { LoggedRecord } from "./record-change.ts";
import type { IngestSettings } from "./settings.ts";

/** What a commit writes beside the draft. */
export interface Commit {
  readonly draft?: Draft;
  /** Leavers to remove; without a draft. */
  readonly drops?: readonly LeaverKey[];
  /** New state of these collections; `undefined`: it goes. */
  readonly collections?: ReadonlyMap<string, CollectionState | undefined>;
  /** Collections all of whose grants go; without a draft. */
  readonly voidGrants?: readonly string[];
  /** Records were read at this time, which is beyond the position. */
  readonly readAt?: Timestamp;
  readonly state?: Partial<Pick<LogState, "term" | "source" | "schemas" | "horizon">>;
}

export interface LogWriter {
  /** As committed last, or being committed. */
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
  /** What the last commit makes of a record: a read of the log while it is on its way may miss that. */
  written(text: string): LoggedRecord | undefined;
  /** Begins a commit once the one before is done. @throws what `flush` throws for the one before. */
  begin(commit: Commit): Promise<void>;
  /** Waits for the commit on its way. @throws FencedError when another node has written; whatever the database throws. */
  flush(): Promise<void>;
  /** Stores the position if someone waits for it or it has not been stored for long. */
  persistIfDue(): Promise<void>;
}

export interface LogWriterOptions {
  readonly log: Log;
  readonly state: LogState;
  /** Where to begin; not before the state's own clock. */
  readonly position: Position;
  readonly clock: Clock;
  readonly settings: IngestSettings;
  readonly session: ClientSession;
  /** Called after each commit, in order, before the next begins. */
  readonly onCommit: (committed: CommittedAppend, commit: Commit) => void;
}

export function createLogWriter({
  log,
  clock,
  settings,
  session,
  onCommit,
  ...start
}: LogWriterOptions): LogWriter {
  let { state, position } = start;
  let expected: Timestamp | undefined;
  let storedAtMs = clock.nowMs();
  let committing: Promise<void> = Promise.resolve();
  let written: Draft["written"] | undefined;
  const limits = { recordsMax: settings.recordsMax, bytesMax: settings.appendBytesMax };

  function nextState({ draft, readAt, collections, state: given }: Commit): Append["state"] {
    const { time, token } = position;
    const known = state.settledAfter?.equals(NOT_YET_KNOWN) ? undefined : state.settledAfter;
    const settledAfter = readAt ? later(readAt, known) : known;
    return {
      ...given,
      clock: time,
      resumeToken: token,
      settledAfter: settledAfter?.greaterThan(time) ? settledAfter : undefined,
      collections: withCollections(state.collections, collections),
      head: draft?.head ?? state.head,
    };
  }

  async function begin(commit: Commit): Promise<void> {
    await flush();
    const { draft, drops = [], voidGrants = [] } = commit;
    const nonce = randomUUID();
    const change = { base: state, state: nextState(commit), drops, voidGrants, ...draft?.contents() };
    state = stateAfter(change, nonce);
    written = draft?.written;
    storedAtMs = clock.nowMs();
    if (expected && position.time.greaterThanOrEqual(expected)) expected = undefined;
    committing = append(log, change, nonce, session).then((committed) => onCommit(committed, commit));
    // Whoever flushes learns of a failure.
    committing.catch(() => {});
  }

  async function flush(): Promise<void> {
    await committing;
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
    written: (text) => written?.get(text),
    begin,
    flush,
    async persistIfDue() {
      if (isDue()) await begin({});
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
