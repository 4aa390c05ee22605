// One step of the tail: the next group's records are read at its time, compared with the log, and appended together.
// While they are read, the next fetch tells whether an open group was complete.
import type { Timestamp } from "mongodb";
import type { RecordKey } from "../log/entry.ts";
import type { Schema } from "../schema/schema.ts";
import type { ChangeTail } from "./change-tail.ts";
import { later } from "./cluster-time.ts";
import type { Draft, DraftedRecord } from "./draft.ts";
import type { Group } from "./group.ts";
import type { Load } from "./load.ts";
import type { LogWriter } from "./log-writer.ts";
import { isOddKey } from "./raw-document.ts";
import type { Writing } from "./record-change.ts";
import { ABSENT, type RecordReader, readFitting, recordText } from "./records.ts";
import type { IngestSettings } from "./settings.ts";
import type { SourceReader } from "./source-reader.ts";
import { writingOf } from "./writing.ts";

export interface TailStepContext {
  readonly tail: ChangeTail;
  readonly writer: LogWriter;
  readonly records: RecordReader;
  readonly source: SourceReader;
  readonly load: Load;
  readonly schema: Schema;
  readonly settings: IngestSettings;
}

/** How long a fetch waits for events when there is other work: as short as the server allows. */
const AT_ONCE_MS = 1;

/**
 * Ingests the group: its closed part, or, if it is too large for one append, its next part. Does nothing but fetch
 * when the group turns out to be still open.
 */
export async function ingestGroup(context: TailStepContext, group: Group): Promise<void> {
  const { tail, writer, load } = context;
  const replaced = replacedIn(group);
  const wanted = wantedIn(group, replaced);
  const at = later(group.time, writer.floor);
  const closing = group.closed ? tail.prefetch(AT_ONCE_MS) : tail.fill(AT_ONCE_MS);
  const [first] = await Promise.all([readSome(context, wanted, at), closing]);
  const closed = group.closed || tail.isClosed(group);
  if (!closed && group.events.length < context.settings.recordsMax) return;
  const written = await appendRecords(context, { group, wanted, at, first });
  tail.drop(group);
  load.meet(wanted.map(({ key }) => key));
  expectPush(writer, group);
  tail.prefetch(tail.waiting > 0 || load.active ? AT_ONCE_MS : context.settings.awaitMs);
  await finish(context, group, { closed, replaced, ...written });
}

interface WantedRecord {
  readonly key: RecordKey;
  /** Its last event is a delete. */
  readonly gone: boolean;
}

function replacedIn(group: Group): Set<string> {
  return new Set(group.events.flatMap((event) => (event.kind === "replaced" ? event.collections : [])));
}

/** Collections that are replaced in the group will be loaded after it: their records needn't be read for it. */
function wantedIn(group: Group, replaced: ReadonlySet<string>): WantedRecord[] {
  const wanted = new Map<string, WantedRecord>();
  for (const event of group.events) {
    if (event.kind !== "record" || replaced.has(event.collection)) continue;
    const { collection, key, gone } = event;
    wanted.set(recordText(collection, key), { key: { c: collection, k: key }, gone });
  }
  return [...wanted.values()];
}

function expectPush(writer: LogWriter, group: Group): void {
  const push = group.events.findLast(({ kind }) => kind === "push");
  if (push) writer.expect(push.time);
}

interface Some {
  readonly wanted: readonly WantedRecord[];
  readonly records: readonly DraftedRecord[];
  readonly at: Timestamp;
}

/** Reads the first of these records: as many as one reply holds. */
async function readSome(
  { records }: TailStepContext,
  wanted: readonly WantedRecord[],
  at: Timestamp,
): Promise<Some> {
  if (wanted.length === 0) return { wanted, records: [], at };
  const { some, read } = await readFitting(wanted, (few) =>
    records.read(
      few.map(({ key }) => key),
      at,
    ),
  );
  // Of odd keys only the stream tells whether they are gone.
  const present = read.records.map((record, index) =>
    isOddKey(record.key.k) && some[index]?.gone ? { ...record, state: ABSENT } : record,
  );
  return { wanted: some, records: present, at: read.at };
}

interface Written {
  /** What is not yet committed. */
  readonly draft: Draft;
  readonly readAt: Timestamp;
  /** A record was passed over that a later event will tell of. */
  readonly passedOver: boolean;
}

async function appendRecords(
  context: TailStepContext,
  { group, wanted, at, first }: { group: Group; wanted: readonly WantedRecord[]; at: Timestamp; first: Some },
): Promise<Written> {
  const { writer, source } = context;
  const writingOf = writings(context, group.time);
  let written: Written = { draft: writer.draft(), readAt: group.time, passedOver: false };
  let some = first;
  for (let done = 0; ; some = await readSome(context, wanted.slice(done), at)) {
    done += some.wanted.length;
    const present = some.records.filter(
      ({ state }, index) => state.kind !== "absent" || some.wanted[index]?.gone,
    );
    const passedOver = present.length < some.records.length;
    const readAt = later(passedOver ? await source.now() : some.at, written.readAt);
    written = { ...written, readAt, passedOver: passedOver || written.passedOver };
    for (const record of present) {
      if (written.draft.full) {
        await writer.begin({ draft: written.draft, readAt });
        written = { ...written, draft: writer.draft() };
      }
      written.draft.add(record, writingOf(record.key.c));
    }
    if (done === wanted.length) return written;
  }
}

function writings({ writer, schema }: TailStepContext, time: Timestamp): (collection: string) => Writing {
  const known = new Map<string, Writing>();
  return (name) => {
    const writing = known.get(name) ?? writingOf(writer.state, name, { schema, time });
    known.set(name, writing);
    return writing;
  };
}

async function finish(
  { writer, load }: TailStepContext,
  group: Group,
  {
    closed,
    replaced,
    draft,
    readAt,
    passedOver,
  }: Written & { closed: boolean; replaced: ReadonlySet<string> },
): Promise<void> {
  const last = group.events.at(-1);
  if (closed && last) writer.moveTo({ time: group.time, token: last.token });
  const restarts = load.restart([...replaced], "replaced");
  if (draft.empty && !passedOver && restarts.size === 0) return;
  await writer.begin({ draft, readAt, collections: restarts });
}
