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

const nested = "message Inner { string a = 1; } enum Level { LEVEL_UNSPECIFIED = 0; }";

export function merges(): Case[] {
  const numbers = ["int32", "optional uint32", "sint64", "fixed64", "float", "double"];
  const times = ["google.protobuf.Timestamp", "optional google.protobuf.Timestamp"];
  const lists = ["repeated string", "repeated int32", "repeated bytes", "repeated Level"];
  const others = [
    ...["string", "bool", "bytes", "Level", "Inner", "map<string, int32>", "repeated Inner"],
    ...["google.protobuf.Int32Value", "google.protobuf.Struct", "repeated google.protobuf.Timestamp"],
    ...["repeated google.protobuf.Struct", "repeated google.protobuf.StringValue"],
  ];
  const all = [...numbers, ...times, ...lists, ...others];
  const fitting: Readonly<Record<string, readonly string[]>> = {
    LAST_WRITER: all,
    SERVER_WINS: all,
    REJECT: all,
    COUNTER: numbers,
    MAX: [...numbers, ...times],
    MIN: [...numbers, ...times],
    SET: lists,
  };
  return Object.entries(fitting).flatMap(([rule, fits]) =>
    all.map((type) => ({
      title: `merge ${rule} on ${type}`,
      ...withRule(type, `merge: MERGE_${rule}`, nested),
      faults: fits.includes(type) ? [] : [`1: merge ${rule} doesn't fit x: it wants a `],
    })),
  );
}

export function mergesByBsonType(): Case[] {
  const fitting: ReadonlyArray<readonly [rule: string, type: string, bsonType: string, fits: boolean]> = [
    ["COUNTER", "int64", "DATE", false],
    ["COUNTER", "int64", "INT64", true],
    ["COUNTER", "int32", "DOUBLE", true],
    ["COUNTER", "string", "DECIMAL128", false],
    ["MAX", "int64", "DATE", true],
    ["MIN", "google.protobuf.Timestamp", "DATE", true],
    ["MAX", "string", "INT64", false],
    ["SET", "repeated int64", "DATE", true],
    ["SET", "repeated string", "OBJECT_ID", true],
    ["SET", "repeated Level", "INT32", true],
  ];
  return fitting.map(([rule, type, bsonType, fits]) => ({
    title: `merge ${rule} on ${type} as ${bsonType}`,
    ...withRule(type, `merge: MERGE_${rule} bson_type: BSON_TYPE_${bsonType}`, nested),
    faults: fits ? [] : [`1: merge ${rule} doesn't fit x: it wants a `],
  }));
}

export function collectionRules(): Case[] {
  const ofCollection = (rule: string, ...faults: readonly string[]) => ({
    title: `collection with ${rule}`,
    ...withOption(rule),
    faults,
  });
  return [
    ...["LAST_WRITER", "SERVER_WINS", "REJECT"].map((rule) => ofCollection(`merge: MERGE_${rule}`)),
    ...["COUNTER", "MAX", "MIN", "SET"].map((rule) =>
      ofCollection(
        `merge: MERGE_${rule}`,
        `1: merge ${rule} doesn't fit Thing: it wants fields of certain types`,
      ),
    ),
    ofCollection("merge: 99", "1: merge 99 doesn't fit Thing: it wants a rule this server knows"),
    ...["DELETE_WINS", "EDIT_WINS", "REJECT"].map((rule) => ofCollection(`deletes: DELETES_${rule}`)),
    ofCollection("deletes: 9", "1: deletes 9 of Thing"),
    ofCollection("writes: WRITES_SERVER_ONLY"),
  ];
}

export function stamps(): Case[] {
  const ofField = (type: string, rule: string, ...faults: readonly string[]) => ({
    title: `stamp on ${type} with {${rule}}`,
    ...withRule(type, rule),
    faults,
  });
  const fitting = ["google.protobuf.Timestamp", "int64", "optional int64"];
  const others = [
    ...["string", "int32", "uint64", "repeated google.protobuf.Timestamp"],
    "google.protobuf.Int64Value",
  ];
  return [
    ...fitting.flatMap((type) => [
      ofField(type, "stamp: STAMP_CREATED_AT"),
      ofField(type, "stamp: STAMP_WRITTEN_AT"),
    ]),
    ...others.map((type) => ofField(type, "stamp: STAMP_WRITTEN_AT", "1: stamp WRITTEN_AT doesn't fit x")),
    ofField("int64", "stamp: STAMP_CREATED_AT bson_type: BSON_TYPE_DATE"),
    ofField("int64", "stamp: STAMP_CREATED_AT access: FIELD_ACCESS_HIDDEN"),
    ofField("int64", "stamp: STAMP_CREATED_AT merge: MERGE_MAX", "1: the server alone sets x, by its stamp"),
    ofField(
      "int64",
      "stamp: STAMP_WRITTEN_AT merge: MERGE_LAST_WRITER",
      "1: the server alone sets x, by its stamp",
    ),
    {
      title: "stamp on a member of a oneof",
      ...withField("oneof y { int64 x = 2 [(tidemark.v1.field).stamp = STAMP_CREATED_AT]; string z = 3; }"),
      faults: [
        "1: stamp CREATED_AT doesn't fit x: it wants a google.protobuf.Timestamp or an int64, outside",
      ],
    },
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
