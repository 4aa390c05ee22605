// The schema of the killed pushes: three collections whose records have a field of each merge rule, one for each rule
// about deletes. As a descriptor set in a file, which spares each start of a server the compiling.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type JsonObject, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import type { Collection } from "../../src/schema/collection.ts";
import { recordToJson } from "../../src/schema/record-json.ts";
import { readSchema } from "../../src/schema/schema.ts";
import type { PullClient } from "../support/pull-client.ts";

export const COLLECTIONS = ["items", "keeps", "papers"] as const;
export type CollectionName = (typeof COLLECTIONS)[number];

export type Collections = ReadonlyMap<string, Collection>;

/** Compiles, and lays the descriptor set into the folder. */
export async function prepareSchema(folder: string): Promise<{ collections: Collections; file: string }> {
  const set = await compileProtos(join(import.meta.dirname, "push-protos"));
  const file = join(folder, "kills.binpb");
  await writeFile(file, toBinary(FileDescriptorSetSchema, set));
  return { collections: readSchema(set).collections, file };
}

/** A record as a device sees it. */
export interface Seen {
  readonly json: JsonObject;
  readonly version: bigint;
}

/** @param key `<collection>/<record id>`. */
export function seenIn(client: PullClient, collections: Collections, key: string): Seen | undefined {
  const held = client.records.get(key);
  const collection = collections.get(key.slice(0, key.indexOf("/")));
  if (held === undefined || collection === undefined) return undefined;
  return { json: recordToJson(collection, held.bytes), version: held.version };
}

export function tagsOf(seen: Seen | undefined): readonly unknown[] {
  const tags = seen?.json["tags"];
  return Array.isArray(tags) ? tags : [];
}
