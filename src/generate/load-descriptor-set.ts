// Loads a team's schema from wherever it lies: a folder of .proto files, or a file holding a FileDescriptorSet.
import { readFile, stat } from "node:fs/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { CompileError } from "./compile-error.ts";
import { compileProtos } from "./compile-protos.ts";

/** A descriptor set of a very large schema has some megabytes. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;

/**
 * @param source a folder (see `compileProtos`) or a file made by `buf build --as-file-descriptor-set` or
 *   `protoc --include_imports --descriptor_set_out`; with `--include_source_info` faults can name their lines.
 * @throws CompileError where there is neither, the file isn't a descriptor set, or its imports are not all in it.
 */
export async function loadDescriptorSet(source: string, signal?: AbortSignal): Promise<FileDescriptorSet> {
  const found = await stat(source).catch(() => undefined);
  if (found === undefined) throw CompileError.of(source, "no such file or folder");
  if (found.isDirectory()) return await compileProtos(source, signal);
  if (found.size > FILE_BYTES_MAX) throw CompileError.of(source, `larger than ${FILE_BYTES_MAX} bytes`);
  return readSet(source, await readFile(source, { signal }));
}

function readSet(source: string, bytes: Uint8Array): FileDescriptorSet {
  const set = decode(source, bytes);
  const names = new Set(set.file.map((file) => file.name));
  const missing = new Set(set.file.flatMap((file) => file.dependency).filter((name) => !names.has(name)));
  if (missing.size === 0) return set;
  const list = [...missing].join(", ");
  throw CompileError.of(
    source,
    `lacks the imported ${list}: make it with its imports (protoc --include_imports)`,
  );
}

function decode(source: string, bytes: Uint8Array): FileDescriptorSet {
  const set = decodeOrUndefined(bytes);
  if (set?.file.every((file) => file.name.endsWith(".proto")) && set.file.length > 0) return set;
  throw CompileError.of(source, "not a FileDescriptorSet; a single .proto file is given by its folder");
}

function decodeOrUndefined(bytes: Uint8Array): FileDescriptorSet | undefined {
  try {
    return fromBinary(FileDescriptorSetSchema, bytes);
  } catch {
    return undefined;
  }
}
