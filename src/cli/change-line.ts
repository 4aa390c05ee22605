// A change as one line for human eyes: what happened, to which record, with which values. What others wrote into it
// can't steer the terminal.
import type { JsonObject } from "@bufbuild/protobuf";
import { type Change, RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import { plainText } from "./plain-text.ts";
import type { RecordReader } from "./server-types.ts";

const VALUE_LENGTH_MAX = 60;

/** `+ todos/t1  title="Buy milk" done=true`, `~` for a delta, `-` for a remove. */
export function changeLine(change: Change, read: RecordReader): string {
  return plainText(lineOf(change, read));
}

function lineOf(change: Change, read: RecordReader): string {
  const name = `${change.collection}/${change.recordId}`;
  const { kind } = change;
  if (kind.case === "remove") return `- ${name}  ${removeWord(kind.value.reason)}`;
  if (kind.case !== "put") return `? ${name}  a kind of change this client is too old for`;
  const record = read(change.collection, kind.value);
  const sign = kind.value.changed.length ? "~" : "+";
  return `${sign} ${name}  ${record ? fieldsText(record) : "(of a type this server doesn't describe)"}`;
}

function removeWord(reason: RemoveReason): string {
  switch (reason) {
    case RemoveReason.LEFT_SCOPE:
      return "moved out of sight";
    case RemoveReason.REVOKED:
      return "no longer granted";
    case RemoveReason.DELETED:
    case RemoveReason.UNSPECIFIED:
      return "deleted";
  }
}

function fieldsText(record: JsonObject): string {
  return Object.entries(record)
    .filter(([key]) => key !== "id")
    .map(([key, value]) => `${key}=${value === null ? "(cleared)" : shortened(JSON.stringify(value))}`)
    .join(" ");
}

function shortened(text: string): string {
  return text.length > VALUE_LENGTH_MAX ? `${text.slice(0, VALUE_LENGTH_MAX - 1)}…` : text;
}
