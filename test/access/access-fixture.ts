// Schemas for access: claims that grant, with and without something for callers who have no token.
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { readSchema, type Schema } from "../../src/schema/schema.ts";
import { folderOf } from "../support/folder-of.ts";

const compiled = new Map<string, Promise<Schema>>();

/** @param grants the list of ClaimGrants, in protobuf's text form. */
export function schemaGranting(grants: string): Promise<Schema> {
  const schema = compiled.get(grants) ?? compile(grants);
  compiled.set(grants, schema);
  return schema;
}

async function compile(grants: string): Promise<Schema> {
  const text = `
    syntax = "proto3";
    package access.v1;
    import "tidemark/v1/schema.proto";
    option (tidemark.v1.app) = {grants: [${grants}]};
    message Note {
      option (tidemark.v1.collection) = {name: "notes", scopes: ["user:{owner_id}", "team:{owner_id}", "public"]};
      string id = 1;
      string owner_id = 2;
    }`;
  return readSchema(await compileProtos(await folderOf({ "access.proto": text })));
}
