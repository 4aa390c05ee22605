// Schemas for tests of ingest, compiled from text: the same three collections, with parts that tests replace.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { inTempFolder } from "../../src/generate/temp-folder.ts";
import { readSchema, type Schema } from "../../src/schema/schema.ts";

export interface SchemaParts {
  readonly todoScopes?: string;
  /** Fields of Todo beside id, title, owner and watchers. */
  readonly todoFields?: string;
  readonly memberRule?: string;
  /** False: no collection `counters`. */
  readonly counters?: boolean;
  /** Further messages. */
  readonly more?: string;
}

export const TODO_FIELDS = `
  int32 votes = 5;
  string secret = 6 [(tidemark.v1.field).access = FIELD_ACCESS_HIDDEN];
  Place place = 7;
  string team_id = 8;
  oneof when {
    string day = 9;
    int32 week = 10;
  }`;

const TODO_SCOPES = `["user:{owner_id}", "user:{watcher_ids}", "team:{team_id}"]`;
const MEMBER_RULE = `grant: {principal: "{user_id}" scope: "team:{team_id}" access_field: "access"}`;

const COUNTERS = `
message Counter {
  option (tidemark.v1.collection) = {name: "counters" scopes: ["public"] writes: WRITES_SERVER_ONLY};
  string id = 1 [(tidemark.v1.field).bson_type = BSON_TYPE_INT64];
  int64 value = 2;
}`;

/** Collections `todos` (string ids, several scopes), `members` (memberships of teams), `counters` (int64 ids, public). */
export function testSchema(parts: SchemaParts = {}): Promise<Schema> {
  return schemaOf(`syntax = "proto3";
package test.v1;
import "tidemark/v1/access.proto";
import "tidemark/v1/schema.proto";
option (tidemark.v1.app) = {grants: [{scope: "user:{sub}"}, {scope: "public" access: ACCESS_READ anonymous: true}]};
message Todo {
  option (tidemark.v1.collection) = {name: "todos" scopes: ${parts.todoScopes ?? TODO_SCOPES}};
  string id = 1;
  string title = 2;
  string owner_id = 3;
  repeated string watcher_ids = 4;
  ${parts.todoFields ?? TODO_FIELDS}
}
message Place { string name = 1; double lat = 2; }
message Member {
  option (tidemark.v1.collection) = {name: "members" scopes: ["user:{user_id}"] ${parts.memberRule ?? MEMBER_RULE}};
  string id = 1;
  string user_id = 2;
  string team_id = 3;
  tidemark.v1.Access access = 4;
}
${parts.counters === false ? "" : COUNTERS}
${parts.more ?? ""}
`);
}

async function schemaOf(text: string): Promise<Schema> {
  return inTempFolder(async (folder) => {
    await writeFile(join(folder, "test.proto"), text);
    return readSchema(await compileProtos(folder));
  });
}
