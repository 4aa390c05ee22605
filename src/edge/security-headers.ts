// Headers that keep browsers from doing more with an answer than it is meant for. Every answer begins with those for
// data; an answer that is a page sets a content-security-policy of its own.
import type { HttpResponse } from "./listener.ts";

/** A year: how long browsers insist on TLS. Without subdomains, as those needn't be ours. */
const STRICT_TRANSPORT = "max-age=31536000";

const DATA_HEADERS: readonly (readonly [name: string, value: string])[] = [
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"],
  ["content-security-policy", "default-src 'none'; frame-ancestors 'none'"],
];

export function setSecurityHeaders(response: HttpResponse, isSecure: boolean): void {
  for (const [name, value] of DATA_HEADERS) response.setHeader(name, value);
  if (isSecure) response.setHeader("strict-transport-security", STRICT_TRANSPORT);
}

/** The headers of a plain text that no cache keeps. */
export function plainHeaders(): [name: string, value: string][] {
  return [
    ...DATA_HEADERS.map(([name, value]): [string, string] => [name, value]),
    ["content-type", "text/plain; charset=utf-8"],
    ["cache-control", "no-store"],
  ];
}
