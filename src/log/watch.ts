// Watching the log's state from any node: which revision it has now, and each one it goes on to.
import type { ChangeStreamUpdateDocument, Long } from "mongodb";
import type { Log } from "./log.ts";
import { openSnapshot } from "./snapshot.ts";
import type { StateDocument } from "./state.ts";

/** Closing waits for the round trip under way; events arrive at once all the same. */
const AWAIT_MS = 200;

/**
 * Revisions of `state`: the present one first, then each change, none left out, perhaps one told twice; undefined:
 * something unusual happened to it, so look. Ends when the signal aborts; throws when the database fails: then watch again.
 */
export async function* watchRevisions(
  log: Log,
  signal: AbortSignal,
): AsyncGenerator<number | undefined, void, undefined> {
  const now = await openSnapshot(log);
  await now.close();
  const stream = log.states.watch<StateDocument, ChangeStreamUpdateDocument<StateDocument>>(
    [{ $project: { revision: "$updateDescription.updatedFields.revision" } }],
    // From the instant just read on, so that nothing falls between the two.
    { startAtOperationTime: now.time, readConcern: { level: "majority" }, maxAwaitTimeMS: AWAIT_MS },
  );
  const close = () => void stream.close();
  signal.addEventListener("abort", close);
  try {
    yield now.state.revision;
    while (!signal.aborted) yield revisionOf(await stream.next());
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener("abort", close);
    await stream.close();
  }
}

/** Anything but an update (the state was dropped or restored) leaves no revision. */
function revisionOf(event: object): number | undefined {
  return "revision" in event ? Number(event.revision as Long | number) : undefined;
}
