// Finds field numbers a message has on the wire but not in the schema, at any depth.
import { isReflectMessage, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { Violation } from "../model/sync-error.ts";

/** One violation for each number and place. Depth is bounded by the decoder. */
export function unknownFields(message: ReflectMessage, path = ""): Violation[] {
  const numbers = new Set(message.getUnknown()?.map(({ no }) => no));
  const own = [...numbers].map((number) => ({
    path: `${path}#${number}`,
    ruleId: "unknown_field",
    message: `no such field: leave number ${number} out, or update the server's schema first`,
  }));
  return [
    ...own,
    ...nestedMessages(message, path).flatMap((nested) => unknownFields(nested.message, nested.path)),
  ];
}

interface Nested {
  readonly path: string;
  readonly message: ReflectMessage;
}

function nestedMessages(message: ReflectMessage, path: string): Nested[] {
  const found: Nested[] = [];
  const add = (value: unknown, step: string) => {
    if (isReflectMessage(value)) found.push({ message: value, path: `${path}${step}.` });
  };
  for (const field of message.fields) {
    if (field.message === undefined || !message.isSet(field)) continue;
    if (field.fieldKind === "list") {
      for (const [index, element] of message.get(field).entries()) add(element, `${field.name}[${index}]`);
    } else if (field.fieldKind === "map") {
      for (const [key, element] of message.get(field))
        add(element, `${field.name}[${JSON.stringify(String(key))}]`);
    } else add(message.get(field), field.name);
  }
  return found;
}
