// How large a request's head may be. Somewhat larger ones are read all the same, so that their callers can be told;
// what is larger still node itself refuses: HTTP/1.1 with 431, HTTP/2 by resetting the stream.
import { SyncError } from "../model/sync-error.ts";
import type { HttpRequest } from "./listener.ts";

/** A token may have 16 KiB, a cursor in a GET's address 2 KiB. */
const HEADER_BYTES_MAX = 32 * 1024;
const HEADERS_MAX = 100;
/** Of a path with its query: a GET's message in base64. */
const URL_BYTES_MAX = 16 * 1024;

/** What node reads at most: bytes, headers of an HTTP/1.1 request, and of an HTTP/2 stream. */
export const HEADER_BLOCK_BYTES_MAX = 64 * 1024;
export const HEADERS_READ_MAX = 200;
export const HEADER_PAIRS_MAX = 256;

export interface HeadFault {
  readonly error: SyncError;
  /** For callers that speak plain HTTP. */
  readonly status: 414 | 431;
}

export function headFault({ url = "", rawHeaders }: HttpRequest): HeadFault | undefined {
  if (url.length > URL_BYTES_MAX) {
    return fault(414, `the address is longer than ${URL_BYTES_MAX} bytes: POST the message instead`);
  }
  if (rawHeaders.length / 2 > HEADERS_MAX) {
    return fault(431, `the request has more than ${HEADERS_MAX} headers: send fewer`);
  }
  const bytes = rawHeaders.reduce((sum, text) => sum + text.length, 0);
  if (bytes > HEADER_BYTES_MAX + url.length) {
    return fault(431, `the request's headers are larger than ${HEADER_BYTES_MAX} bytes: send less in them`);
  }
  return undefined;
}

function fault(status: HeadFault["status"], message: string): HeadFault {
  return { status, error: new SyncError("REQUEST_TOO_LARGE", message) };
}
