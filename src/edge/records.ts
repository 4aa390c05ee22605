// Records on their way through: tidemark.v1.Record ⇄ the form the inside of the server passes on unread.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Record as RecordMessage, RecordSchema } from "#gen/tidemark/v1/record_pb.js";
import type { RecordForm } from "../model/record-form.ts";

/** A record without a form is an empty one: every field at its default. */
export function recordFormFrom(record: RecordMessage | undefined): RecordForm {
  if (record?.form.case === "json") return { form: "JSON", json: record.form.value };
  return { form: "PROTO", bytes: record?.form.value ?? new Uint8Array() };
}

export function recordMessage(record: RecordForm): RecordMessage {
  const form: MessageInitShape<typeof RecordSchema>["form"] =
    record.form === "JSON" ? { case: "json", value: record.json } : { case: "proto", value: record.bytes };
  return create(RecordSchema, { form });
}
