// Cursors ⇄ subscriptions: opens what a client echoes, seals what it shall store. Long feed sets go to the log's store.
import { readFeedSet, storeFeedSet } from "../log/feed-sets.ts";
import type { Log } from "../log/log.ts";
import type { LogState } from "../log/state.ts";
import { translated } from "../log/translated.ts";
import type { Clock } from "../model/clock.ts";
import { invariant } from "../model/invariant.ts";
import type { Cursor } from "../model/pull-request.ts";
import { openToken, type Seal, sealToken, type TokenContent } from "./cursor-token.ts";
import { type Feeds, readFeeds, writeFeeds } from "./feed-content.ts";
import type { Subscription } from "./subscription.ts";

export interface CursorStore {
  readonly log: Log;
  readonly clock: Clock;
}

/** What a cursor turned out to be: a subscription, or the reason to start over. */
export type OpenedCursor = Subscription | "EPOCH" | "CURSOR";

/**
 * Opens a client's cursor. Its position and checkpoint are only the client's word: wrong ones cost it records or
 * bytes, but what may be sent is bounded by the grants and by the signed standings.
 */
export async function openCursor(
  store: CursorStore,
  { subscription, position, checkpoint }: Cursor,
  { state, principal }: { readonly state: LogState; readonly principal: string },
): Promise<OpenedCursor> {
  const opened = openToken(subscription, sealOf(state, principal));
  if (opened.kind === "foreign-epoch") return "EPOCH";
  // From the future: a log restored from a backup that kept its epoch, or a lie.
  if (opened.kind === "unacceptable" || Math.max(position, checkpoint) > state.head) return "CURSOR";
  const feeds = await readContent(store, opened);
  return feeds === undefined ? "CURSOR" : { ...feeds, position, checkpoint };
}

/** The token of a subscription's feeds, storing them first if they are too long for it. */
export async function sealFeeds(
  { log, clock }: CursorStore,
  feeds: Feeds,
  { state, principal }: { readonly state: LogState; readonly principal: string },
): Promise<string> {
  const seal = sealOf(state, principal);
  const bytes = writeFeeds(feeds);
  const token = sealToken({ kind: "feeds", bytes }, seal);
  if (token !== undefined) return token;
  const hash = await translated(storeFeedSet(log, bytes, clock.nowMs()));
  const stored = sealToken({ kind: "stored", hash }, seal);
  invariant(stored, "a hash fits a token");
  return stored;
}

async function readContent({ log, clock }: CursorStore, content: TokenContent): Promise<Feeds | undefined> {
  if (content.kind === "feeds") return readFeeds(content.bytes);
  const bytes = await translated(readFeedSet(log, content.hash, clock.nowMs()));
  return bytes && readFeeds(bytes);
}

function sealOf({ signingKey, epoch }: LogState, principal: string): Seal {
  return { key: signingKey, epoch, principal };
}
