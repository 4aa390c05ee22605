// Cases of merge rules where they meet: in oneofs, in messages inside records, and where a rule could never decide.
import { type Case, option, withField } from "./fault-case.ts";

const merge = (rule: string) => `[(tidemark.v1.field).merge = MERGE_${rule}]`;
const counted = `int32 a = 1 ${merge("COUNTER")};`;
const inner = `message Inner { ${counted} }`;
/** A oneof of two, the first with a rule of its own, in a message Inner on line 2. */
const innerOneof = (rule: string) =>
  `message Inner { oneof size { int32 a = 1 ${merge(rule)}; int32 b = 2; } }`;
const never =
  "2: merge never decides about Inner.a, since Inner lies only in lists and maps, which merge as one value: leave it out";
const differ = (message: string, found: string) =>
  `the members of ${message} merge as one value, but ${found}: give them all the same rule`;

const inOneofs: readonly Case[] = [
  ...["COUNTER", "MAX", "MIN"].map((rule) => ({
    title: `merge ${rule} on a member of a oneof`,
    ...withField(`oneof y { int32 x = 2 ${merge(rule)}; int32 z = 3; }`),
    faults: [`1: merge ${rule} doesn't fit x: it wants a field outside any oneof`],
  })),
  {
    title: "merge COUNTER on a member of a nested oneof",
    ...withField("Inner x = 2;", innerOneof("COUNTER")),
    faults: ["2: merge COUNTER doesn't fit a: it wants a field outside any oneof"],
  },
  {
    title: "merge COUNTER on an optional field, which is no member of a oneof",
    ...withField(`optional int32 x = 2 ${merge("COUNTER")};`),
    faults: [],
  },
  {
    title: "two rules in a oneof",
    ...withField(`oneof y { int32 x = 2 ${merge("REJECT")}; int32 z = 3 ${merge("SERVER_WINS")}; }`),
    faults: [`1: ${differ("Thing.y", "x has REJECT, z has SERVER_WINS")}`],
  },
  {
    title: "one rule of its own in a oneof",
    ...withField(`oneof y { int32 w = 2; int32 x = 3; int32 z = 4 ${merge("REJECT")}; }`),
    faults: [`1: ${differ("Thing.y", "w has LAST_WRITER, z has REJECT")}`],
  },
  {
    title: "one rule in a oneof, the collection's",
    ...withField(`oneof y { int32 x = 2 ${merge("LAST_WRITER")}; int32 z = 3; }`),
    faults: [],
  },
  {
    title: "one rule in a oneof, given to each",
    ...withField(`oneof y { int32 x = 2 ${merge("REJECT")}; int32 z = 3 ${merge("REJECT")}; } int32 w = 4;`),
    faults: [],
  },
  {
    title: "two rules in two oneofs",
    ...withField(`oneof y { int32 x = 2 ${merge("REJECT")}; } oneof z { int32 w = 3; }`),
    faults: [],
  },
  {
    title: "two rules in a nested oneof, one inherited from the collection",
    ...withField("Inner x = 2;", innerOneof("REJECT")),
    faults: [`2: ${differ("Inner.size", "a has REJECT, b has LAST_WRITER")}`],
  },
  {
    title: "two rules in a nested oneof, one inherited from the field it is in",
    ...withField(`Inner x = 2 ${merge("REJECT")};`, innerOneof("LAST_WRITER")),
    faults: [`2: ${differ("Inner.size", "a has LAST_WRITER, b has REJECT")}`],
  },
  {
    title: "one rule in a nested oneof, inherited from the field it is in",
    ...withField(`Inner x = 2 ${merge("REJECT")};`, innerOneof("REJECT")),
    faults: [],
  },
  {
    title: "one rule in an oneof deeper down, inherited through a field without one",
    ...withField(`Outer x = 2 ${merge("REJECT")};`, `${innerOneof("REJECT")} message Outer { Inner y = 1; }`),
    faults: [],
  },
  {
    title: "a nested oneof that inherits two rules, one of which is another's",
    ...withField(`Inner x = 2 ${merge("REJECT")}; Inner y = 3;`, innerOneof("REJECT")),
    faults: [`2: ${differ("Inner.size", "a has REJECT, b has LAST_WRITER")}`],
  },
  {
    title: "a nested oneof without rules that inherits two",
    ...withField(
      `Inner x = 2 ${merge("REJECT")}; Inner y = 3;`,
      "message Inner { oneof z { int32 a = 1; int32 b = 2; } }",
    ),
    faults: [],
  },
];

const belowRecords: readonly Case[] = [
  { title: "merge in a nested message", ...withField("Inner x = 2;", inner), faults: [] },
  {
    title: "merge that doesn't fit in a nested message",
    ...withField("Inner x = 2;", `message Inner { string a = 1 ${merge("COUNTER")}; }`),
    faults: ["2: merge COUNTER doesn't fit a: it wants a number"],
  },
  {
    title: "merge of a rule no server knows in a nested message",
    ...withField("Inner x = 2;", "message Inner { int32 a = 1 [(tidemark.v1.field) = {merge: 99}]; }"),
    faults: ["2: merge 99 doesn't fit a: it wants a rule this server knows"],
  },
  {
    title: "merge in a recursive message",
    ...withField("Inner x = 2;", `message Inner { ${counted} Inner y = 2; }`),
    faults: [],
  },
  ...["repeated Inner x = 2;", "map<string, Inner> x = 2;"].map((declared) => ({
    title: `merge in the message of ${declared}`,
    ...withField(declared, inner),
    faults: [never],
  })),
  {
    title: "merge in a message that is a member of a oneof",
    ...withField("oneof y { Inner x = 2; int32 z = 3; }", inner),
    faults: [],
  },
  {
    title: "two rules in a oneof in a member of a oneof, one inherited from both members",
    ...withField(
      `oneof y { Inner x = 2 ${merge("REJECT")}; int32 z = 3 ${merge("REJECT")}; }`,
      innerOneof("LAST_WRITER"),
    ),
    faults: [`2: ${differ("Inner.size", "a has LAST_WRITER, b has REJECT")}`],
  },
  {
    title: "merge in a message in a message in a list",
    ...withField("repeated Outer x = 2;", `${inner} message Outer { Inner y = 1; }`),
    faults: [never],
  },
  {
    title: "merge in a message in a list in a message",
    ...withField("Outer x = 2;", `${inner} message Outer { repeated Inner y = 1; }`),
    faults: [never],
  },
  {
    title: "merge in a message in a list and by itself",
    ...withField("repeated Inner x = 2; Outer y = 3;", `${inner} message Outer { Inner y = 1; }`),
    faults: [],
  },
  {
    title: "merge in a message that is in a list of one collection and by itself in another",
    text: `message Thing { ${option()} string id = 1; repeated Inner x = 2; }\n${inner}
      message Other { ${option("", "others")} string id = 1; Inner x = 2; }`,
    faults: [],
  },
  {
    title: "merge in a record that is in a list as well",
    ...withField(`int32 x = 2 ${merge("COUNTER")}; repeated Thing y = 3;`),
    faults: [],
  },
  {
    title: "no merge in the message of a list",
    ...withField(`repeated Inner x = 2 ${merge("REJECT")};`, "message Inner { int32 a = 1; }"),
    faults: [],
  },
];

export const mergesTogether: readonly Case[] = [...inOneofs, ...belowRecords];
