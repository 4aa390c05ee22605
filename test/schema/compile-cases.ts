// Compiles many small schemas in one go: each case is a file of its own, read as a set of its own.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { readSchema } from "../../src/schema/schema.ts";
import { SchemaError } from "../../src/schema/schema-error.ts";

/** Everything before a case's first line. */
const header = (syntax: string, packageName: string) =>
  [
    `${syntax}; package ${packageName};`,
    ...["struct", "timestamp", "any", "duration", "field_mask", "wrappers"].map(
      (name) => `import "google/protobuf/${name}.proto";`,
    ),
    'import "buf/validate/validate.proto"; import "tidemark/v1/access.proto"; import "tidemark/v1/schema.proto";',
    "",
  ].join("\n");

/** Lines of a case's file before its own text. */
const HEADER_LINES = header("", "").split("\n").length - 1;

export interface Source {
  readonly text: string;
  readonly syntax?: string;
}

/** A set for each source, in order. */
export async function compileAll(sources: readonly Source[]): Promise<FileDescriptorSet[]> {
  const folder = await mkdtemp(join(tmpdir(), "tidemark-cases-"));
  try {
    const write = ({ text, syntax = 'syntax = "proto3"' }: Source, index: number) =>
      writeFile(join(folder, `case${index}.proto`), header(syntax, `case${index}`) + text);
    await Promise.all(sources.map(write));
    const whole = await compileProtos(folder);
    return sources.map((_, index) => subset(whole, `case${index}.proto`));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The file with all it imports. */
function subset(set: FileDescriptorSet, name: string): FileDescriptorSet {
  const wanted = new Set<string>();
  const add = (each: string) => {
    if (wanted.has(each)) return;
    wanted.add(each);
    for (const next of fileOf(set, each).dependency) add(next);
  };
  add(name);
  return create(FileDescriptorSetSchema, { file: set.file.filter((file) => wanted.has(file.name)) });
}

export function fileOf(set: FileDescriptorSet, name: string): FileDescriptorProto {
  const file = set.file.find((each) => each.name === name);
  if (file === undefined) throw new Error(`no file ${name}`);
  return file;
}

/** The faults of a set as `line: message`, lines counted from the case's first; none: it is read. */
export function faultsOf(set: FileDescriptorSet): string[] {
  try {
    readSchema(set);
    return [];
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    return error.faults.map(
      ({ line, message }) => `${line === undefined ? "?" : line - HEADER_LINES}: ${message}`,
    );
  }
}
