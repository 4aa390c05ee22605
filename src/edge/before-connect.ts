// What Connect would stumble over in a request's head, dealt with before Connect sees it: addresses and GET messages
// that can't be read, on which it ends without a word or with INTERNAL, and deadlines beyond what timers hold.
import { base64Decode } from "@bufbuild/protobuf/wire";
import { SyncError } from "../model/sync-error.ts";
import type { HttpRequest } from "./listener.ts";

/** The client's fault that keeps the request from being read; undefined: none. */
export function unreadable(request: HttpRequest): SyncError | undefined {
  const host = "authority" in request ? request.authority : request.headers.host;
  const base = `http://${host}`;
  const url = request.url ?? "";
  if (host === undefined || !URL.canParse(url, base)) {
    return new SyncError("INVALID_REQUEST", "the request's host or path can't be read");
  }
  if (request.method !== "GET") return undefined;
  const { searchParams } = new URL(url, base);
  if (searchParams.get("base64") !== "1" || isBase64(searchParams.get("message") ?? "")) return undefined;
  return new SyncError("INVALID_REQUEST", "the parameter message is not base64, as base64=1 says");
}

function isBase64(text: string): boolean {
  try {
    base64Decode(text);
    return true;
  } catch {
    return false;
  }
}

/** Node fires a longer timer at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

const GRPC_UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1 };

/** Takes away a deadline over 24 days off: no call lasts as long. One that can't be read stays, to be refused. */
export function dropEndlessDeadline({ headers }: HttpRequest): void {
  const [, digits = "", unit = ""] = /^(\d{1,8})([HMSm])$/.exec(String(headers["grpc-timeout"])) ?? [];
  if (Number(digits) * (GRPC_UNIT_MS[unit] ?? 0) > TIMER_MS_MAX) delete headers["grpc-timeout"];
  const connect = String(headers["connect-timeout-ms"]);
  if (/^\d{1,10}$/.test(connect) && Number(connect) > TIMER_MS_MAX) delete headers["connect-timeout-ms"];
}
