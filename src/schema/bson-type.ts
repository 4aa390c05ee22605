// BSON types a field may name (FieldRules.bson_type), and which of them fit which field. Each one also reads every
// other BSON value that converts without loss; it decides what is written, and what a string stands for.
import { ScalarType } from "@bufbuild/protobuf";
import { BsonType as Option } from "#gen/tidemark/v1/schema_pb.js";

/** As tidemark.v1.BsonType; NATIVE: by the field's type. */
export type BsonType =
  | "NATIVE"
  | "OBJECT_ID"
  | "UUID"
  | "DECIMAL128"
  | "DATE"
  | "STRING"
  | "INT32"
  | "INT64"
  | "DOUBLE"
  | "BINARY";

const names: Readonly<Record<Option, BsonType>> = {
  [Option.UNSPECIFIED]: "NATIVE",
  [Option.OBJECT_ID]: "OBJECT_ID",
  [Option.UUID]: "UUID",
  [Option.DECIMAL128]: "DECIMAL128",
  [Option.DATE]: "DATE",
  [Option.STRING]: "STRING",
  [Option.INT32]: "INT32",
  [Option.INT64]: "INT64",
  [Option.DOUBLE]: "DOUBLE",
  [Option.BINARY]: "BINARY",
};

/** Undefined for a type this server doesn't know. */
export function bsonTypeOf(option: Option): BsonType | undefined {
  return names[option];
}

export const enumTypes: readonly BsonType[] = ["STRING", "INT32", "INT64"];
export const timestampTypes: readonly BsonType[] = ["DATE"];
export const idTypes: readonly BsonType[] = ["STRING", "OBJECT_ID", "UUID", "INT64"];

/** The types that fit a scalar field, NATIVE aside. */
export function bsonTypesOfScalar(scalar: ScalarType): readonly BsonType[] {
  switch (scalar) {
    case ScalarType.STRING:
      return ["STRING", "OBJECT_ID", "UUID", "DECIMAL128", "INT64"];
    case ScalarType.BYTES:
      return ["BINARY"];
    case ScalarType.BOOL:
      return [];
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return ["DOUBLE"];
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return ["INT32", "INT64", "DOUBLE"];
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return ["INT64", "DOUBLE"];
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return ["INT64"];
    default:
      return ["INT64", "DATE"];
  }
}
