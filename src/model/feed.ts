// A feed is one collection in one scope, written `todos/team:t7`: the unit of subscription.
// Collection names hold no slash, so the first one divides. All of a collection is a feed as well: that of every scope.
import { EVERY_SCOPE } from "./principal.ts";

/** `<collection>/<scope>`. */
export type Feed = string;

export function feedOf(collection: string, scope: string): Feed {
  return `${collection}/${scope}`;
}

export function collectionOfFeed(feed: Feed): string {
  return feed.slice(0, feed.indexOf("/"));
}

export function scopeOfFeed(feed: Feed): string {
  return feed.slice(feed.indexOf("/") + 1);
}

/** The feed of all of a collection's records, whatever scopes they are in; no entry of the log names it. */
export function wholeFeedOf(collection: string): Feed {
  if (lastWhole.collection !== collection) lastWhole = { collection, feed: feedOf(collection, EVERY_SCOPE) };
  return lastWhole.feed;
}

/** It is asked for entry after entry, mostly of one collection. */
let lastWhole = { collection: "", feed: feedOf("", EVERY_SCOPE) };

export function isWholeFeed(feed: Feed): boolean {
  return feed.endsWith("/") && scopeOfFeed(feed) === EVERY_SCOPE;
}
