// The header by which a client names itself: `tidemark-client: <platform>/<version>; device=<id>`, for instance
// `ios/2.4.0; device=6f1c`. Tolerant of spaces, case and further parameters; bounded; a header that can't be read is a
// bug in the client and refused.
import { SyncError } from "../model/sync-error.ts";

export interface ClientIdentity {
  /** Lower case: `ios`, `android`, `web`. */
  readonly platform: string;
  readonly version: string;
  /** Empty: not told. */
  readonly device: string;
}

const HEADER_LENGTH_MAX = 512;
const agentPattern = /^([a-z0-9._-]{1,32})\s*\/\s*([a-z0-9.+_-]{1,64})$/i;
const quoted = /^"?(.*?)"?$/;
const devicePattern = /^[\x21\x23-\x7e]{1,128}$/;

/** Whether a text can name a device. */
export function isDevice(text: string): boolean {
  return devicePattern.test(text);
}

/**
 * Reads the header; undefined if there is none.
 * @throws SyncError INVALID_REQUEST if it isn't of that form.
 */
export function readClientHeader(header: string | undefined): ClientIdentity | undefined {
  if (header === undefined || header.trim() === "") return undefined;
  if (header.length > HEADER_LENGTH_MAX) throw malformed();
  const [agent = "", ...parameters] = header.split(";").map((part) => part.trim());
  const [, platform, version] = agentPattern.exec(agent) ?? [];
  if (platform === undefined || version === undefined) throw malformed();
  return { platform: platform.toLowerCase(), version, device: deviceIn(parameters) };
}

function deviceIn(parameters: readonly string[]): string {
  for (const parameter of parameters) {
    const [, name = "", value = ""] = /^([^=]*)=(.*)$/.exec(parameter) ?? [];
    if (name.trim().toLowerCase() !== "device") continue;
    const [, device = ""] = quoted.exec(value.trim()) ?? [];
    if (!isDevice(device)) throw malformed();
    return device;
  }
  return "";
}

function malformed(): SyncError {
  return new SyncError(
    "INVALID_REQUEST",
    "the header tidemark-client must read <platform>/<version>; device=<id>, for instance ios/2.4.0; device=6f1c",
  );
}
