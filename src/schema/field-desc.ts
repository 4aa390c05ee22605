// Finds a message's field by its number, at once: reflection builds an index anew for each message it wraps.
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { invariant } from "../model/invariant.ts";

const indexes = new WeakMap<DescMessage, ReadonlyMap<number, DescField>>();

/** Of a message as clients have it, which has every field that isn't hidden. */
export function fieldDesc(message: DescMessage, number: number): DescField {
  let index = indexes.get(message);
  if (index === undefined) {
    index = new Map(message.fields.map((field) => [field.number, field]));
    indexes.set(message, index);
  }
  const field = index.get(number);
  invariant(field, "clients have every field that isn't hidden");
  return field;
}
