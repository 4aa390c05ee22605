// A feed is one collection in one scope, written `todos/team:t7`: the unit of subscription.
// Collection names hold no slash, so the first one divides.

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
