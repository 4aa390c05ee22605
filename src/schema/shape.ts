// Shapes: message types as both databases and wire see them: number, key, and how each value is written down.
// Codecs, fingerprints and templates are all made from shapes; nothing else looks at Tidemark's field options.
import type { DescEnum, DescField, DescMessage, ScalarType } from "@bufbuild/protobuf";
import type { BsonType } from "./bson-type.ts";
import type { Merge } from "./collection.ts";
import type { AnyLeafCodec } from "./leaf-codec.ts";

/** A message type. Shapes of recursive types are recursive. */
export interface MessageShape {
  readonly desc: DescMessage;
  /** By number. Hidden ones too. */
  readonly fields: readonly FieldShape[];
}

export interface FieldShape {
  readonly desc: DescField;
  readonly number: number;
  /** The proto name. */
  readonly name: string;
  /** The key in the document. */
  readonly key: string;
  /** Never leaves the server; below the record, such a field is to Tidemark as if undeclared. */
  readonly hidden: boolean;
  /** The name of its oneof. */
  readonly oneof: string | undefined;
  /** Implicit: absent and zero are the same. */
  readonly cardinality: "implicit" | "explicit" | "list" | "map";
  readonly packed: boolean;
  /** Of a map. */
  readonly mapKey: ScalarType | undefined;
  /** The field's own rule; undefined: that of the field its message is in, or else the collection's. */
  readonly merge: Merge | undefined;
  /** Of the field, or of its elements. */
  readonly value: ValueShape;
}

export type ValueShape =
  | ScalarShape
  | EnumShape
  | { readonly kind: "wrapper"; readonly inner: ScalarShape }
  | { readonly kind: "timestamp" }
  | { readonly kind: "free"; readonly form: FreeForm }
  | { readonly kind: "message"; readonly shape: MessageShape };

export interface ScalarShape {
  readonly kind: "scalar";
  readonly scalar: ScalarType;
  readonly bsonType: BsonType;
  readonly leaf: AnyLeafCodec;
}

export interface EnumShape {
  readonly kind: "enum";
  readonly desc: DescEnum;
  readonly bsonType: BsonType;
  readonly leaf: AnyLeafCodec;
}

/** google.protobuf.Struct, Value and ListValue: whatever the document holds. */
export type FreeForm = "struct" | "value" | "list";

/** Every message type reachable from here, this one first, each once. */
export function reachable(shape: MessageShape): MessageShape[] {
  const found = new Set([shape]);
  for (const message of found) {
    for (const { value } of message.fields) if (value.kind === "message") found.add(value.shape);
  }
  return [...found];
}
