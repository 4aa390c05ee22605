// Cases that are tables: which bson_type, which merge rule, which type fits which field.
import { type Case, withField, withOption, withRule } from "./fault-case.ts";

export function bsonTypes(): Case[] {
  const fitting: Readonly<Record<string, readonly string[]>> = {
    string: ["STRING", "OBJECT_ID", "UUID", "DECIMAL128", "INT64"],
    bytes: ["BINARY"],
    bool: [],
    double: ["DOUBLE"],
    float: ["DOUBLE"],
    int32: ["INT32", "INT64", "DOUBLE"],
    uint32: ["INT64", "DOUBLE"],
    int64: ["INT64", "DATE"],
    fixed64: ["INT64"],
    "google.protobuf.Timestamp": ["DATE"],
    "google.protobuf.StringValue": ["STRING", "OBJECT_ID", "UUID", "DECIMAL128", "INT64"],
    "google.protobuf.Struct": [],
    Level: ["STRING", "INT32", "INT64"],
    Inner: [],
    "map<string, int64>": ["INT64", "DATE"],
    "repeated string": ["STRING", "OBJECT_ID", "UUID", "DECIMAL128", "INT64"],
  };
  const all = ["OBJECT_ID", "UUID", "DECIMAL128", "DATE", "STRING", "INT32", "INT64", "DOUBLE", "BINARY"];
  const more = "message Inner { string a = 1; } enum Level { LEVEL_UNSPECIFIED = 0; }";
  return Object.entries(fitting).flatMap(([type, fits]) =>
    all.map((bsonType) => ({
      title: `${type} as ${bsonType}`,
      ...withRule(type, `bson_type: BSON_TYPE_${bsonType}`, more),
      faults: fits.includes(bsonType)
        ? []
        : [`1: bson_type BSON_TYPE_${bsonType} doesn't fit x: leave it out`],
    })),
  );
}

export function merges(): Case[] {
  const unsupported = (rule: string) => [`1: ${rule} is not supported yet`];
  const misfit = (rule: string) => [`1: merge ${rule} doesn't fit x`];
  const ofField = (type: string, rule: string, faults: readonly string[]) => ({
    title: `merge ${rule} on ${type}`,
    ...withRule(type, `merge: MERGE_${rule}`),
    faults,
  });
  const ofCollection = (rule: string, faults: readonly string[]) => ({
    title: `collection with ${rule}`,
    ...withOption(rule),
    faults,
  });
  return [
    ofField("string", "LAST_WRITER", []),
    ofField("string", "SERVER_WINS", unsupported("SERVER_WINS")),
    ofField("string", "REJECT", unsupported("REJECT")),
    ofField("int32", "COUNTER", unsupported("COUNTER")),
    ofField("double", "COUNTER", unsupported("COUNTER")),
    ofField("google.protobuf.Timestamp", "MAX", unsupported("MAX")),
    ofField("int64", "MIN", unsupported("MIN")),
    ofField("repeated string", "SET", unsupported("SET")),
    ...["string", "bool", "bytes", "google.protobuf.Timestamp", "repeated int32", "map<string, int32>"].map(
      (type) => ofField(type, "COUNTER", misfit("COUNTER")),
    ),
    ...["string", "repeated int32", "map<string, int32>"].map((type) => ofField(type, "MAX", misfit("MAX"))),
    ...[
      "int32",
      "map<string, int32>",
      "repeated google.protobuf.Timestamp",
      "repeated google.protobuf.Struct",
    ].map((type) => ofField(type, "SET", misfit("SET"))),
    ofCollection("merge: MERGE_LAST_WRITER", []),
    ofCollection("merge: MERGE_REJECT", unsupported("REJECT")),
    ofCollection("merge: MERGE_COUNTER", [
      "1: merge COUNTER doesn't fit Thing: it wants fields of certain types",
    ]),
    ofCollection("merge: MERGE_SET", ["1: merge SET doesn't fit Thing"]),
    ofCollection("deletes: DELETES_DELETE_WINS", []),
    ofCollection("deletes: DELETES_EDIT_WINS", unsupported("EDIT_WINS")),
    ofCollection("deletes: DELETES_REJECT", unsupported("REJECT")),
    ofCollection("deletes: 9", ["1: deletes 9 of Thing"]),
    ofCollection("writes: WRITES_SERVER_ONLY", []),
    ...["google.protobuf.Timestamp", "int64"].map((type) => ({
      title: `stamp on ${type}`,
      ...withRule(type, "stamp: STAMP_CREATED_AT"),
      faults: unsupported("CREATED_AT"),
    })),
    ...["string", "int32", "uint64", "repeated google.protobuf.Timestamp"].map((type) => ({
      title: `stamp on ${type}`,
      ...withRule(type, "stamp: STAMP_WRITTEN_AT"),
      faults: ["1: stamp WRITTEN_AT doesn't fit x"],
    })),
  ];
}

export function unsupportedTypes(): Case[] {
  const types = ["Any", "Duration", "FieldMask", "NullValue"].map((name) => `google.protobuf.${name}`);
  return types.flatMap((type) =>
    [type, `repeated ${type}`, `map<string, ${type}>`].map((declared) => ({
      title: declared,
      ...withField(`${declared} x = 2;`),
      faults: [`1: x: ${type} has no place in a document: `],
    })),
  );
}
