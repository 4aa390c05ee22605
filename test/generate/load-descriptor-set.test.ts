// A schema loads from a folder or from a file holding a FileDescriptorSet; anything else is told in a sentence.
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { loadDescriptorSet } from "../../src/generate/load-descriptor-set.ts";
import { folderOf } from "../support/folder-of.ts";
import { protoFile } from "./proto-file.ts";

const files = {
  "acme/v1/note.proto": protoFile("acme.v1", "message Note { tidemark.v1.Access access = 1; }", [
    "tidemark/v1/access.proto",
  ]),
};

test("load: a folder and a file of its descriptor set → the same", async () => {
  const folder = await folderOf(files);
  const set = await compileProtos(folder);
  const other = await folderOf({ "schema.binpb": toBinary(FileDescriptorSetSchema, set) });
  expect(await loadDescriptorSet(folder)).toEqual(set);
  expect(await loadDescriptorSet(join(other, "schema.binpb"))).toEqual(set);
});

test("load: a set without its imports → named", async () => {
  const set = await compileProtos(await folderOf(files));
  const bare = create(FileDescriptorSetSchema, { file: set.file.filter((f) => f.name.startsWith("acme/")) });
  const folder = await folderOf({ "bare.binpb": toBinary(FileDescriptorSetSchema, bare) });
  await expect(loadDescriptorSet(join(folder, "bare.binpb"))).rejects.toThrow("tidemark/v1/access.proto");
});

test.each([
  ["an empty file", ""],
  ["a .proto file", files["acme/v1/note.proto"]],
  ["other bytes", new Uint8Array([10, 200, 1, 2])],
])("load: %s → refused as no descriptor set", async (_, content) => {
  const folder = await folderOf({ file: content });
  await expect(loadDescriptorSet(join(folder, "file"))).rejects.toThrow("not a FileDescriptorSet");
});

test("load: a path that leads nowhere → refused", async () => {
  await expect(loadDescriptorSet("/nowhere/at/all")).rejects.toThrow("no such file or folder");
});
