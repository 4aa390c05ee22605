// A schema of teams for scenarios of access, with parts that a test replaces: notes, and memberships clients may push.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "./temporary-folder.ts";

export interface TeamParts {
  readonly noteScopes?: string;
  /** The rule of the field `pay`. */
  readonly payRule?: string;
  /** The scope a membership gives. */
  readonly granted?: string;
}

/** A folder with the schema, for TIDEMARK_SCHEMA; it lasts as long as the test. */
export async function teamSchema(parts: TeamParts = {}): Promise<string> {
  const { noteScopes = `["user:{owner_id}", "team:{team_id}", "user:{reader_ids}"]`, payRule = "" } = parts;
  const { granted = "team:{team_id}" } = parts;
  const folder = await temporaryFolder();
  await writeFile(
    join(folder, "team.proto"),
    `syntax = "proto3";
package team.v1;
import "tidemark/v1/access.proto";
import "tidemark/v1/schema.proto";
option (tidemark.v1.app) = {grants: [{scope: "user:{sub}"}, {scope: "team:{teams}"}]};
message Note {
  option (tidemark.v1.collection) = {name: "notes" scopes: ${noteScopes}};
  string id = 1;
  string title = 2;
  string owner_id = 3;
  string team_id = 4;
  repeated string reader_ids = 5;
  string pay = 6 ${payRule};
}
message Member {
  option (tidemark.v1.collection) = {
    name: "members"
    scopes: ["team:{team_id}"]
    grant: {principal: "{user_id}" scope: "${granted}" access_field: "access"}
  };
  string id = 1;
  string user_id = 2;
  string team_id = 3;
  tidemark.v1.Access access = 4;
}
`,
  );
  return folder;
}
