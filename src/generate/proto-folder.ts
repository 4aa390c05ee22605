// Reads a team's folder of .proto files and decides which folder their import paths are relative to.
// Copies of files Tidemark or the compiler brings (tidemark/, buf/validate/, google/protobuf/) are left out.
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import { CompileError } from "./compile-error.ts";

/** One of the team's files. */
export interface ProtoFile {
  /** As other files import it: `acme/v1/todo.proto`. */
  readonly importPath: string;
  /** Where it lies, beginning with the folder as the team wrote it. */
  readonly path: string;
  readonly text: string;
}

/** A folder with more is not a schema: most likely someone named the wrong one. */
const FILES_MAX = 2_000;
const FILE_BYTES_MAX = 4 * 1024 * 1024;
const DEPTH_MAX = 32;

const brought = /^(tidemark|buf\/validate|google\/protobuf)\//;

/**
 * The folder's .proto files, by import path. Folders named `node_modules` or beginning with a dot are passed over;
 * links to files are followed, links to folders are not.
 *
 * The import root is the folder itself, or the one above or below it from which the files' places spell their
 * packages (`demo/v1/todo.proto` of package `demo.v1`), as protobuf's style guide asks. Where these differ, the one
 * under which more of the files' imports of each other are found; at a tie the one that spells the packages.
 * @throws CompileError where there is no such folder, or no .proto file in it.
 */
export async function readProtoFolder(folder: string): Promise<ProtoFile[]> {
  const files: SourceFile[] = [];
  await walk(folder, files, 0);
  if (files.length === 0) throw CompileError.of(folder, "no .proto files in this folder");
  const root = importRoot(folder, files);
  return files
    .map(({ path, text }) => ({ path, text, importPath: slashed(relative(root, resolve(path))) }))
    .filter((file) => !brought.test(file.importPath))
    .sort((a, b) => (a.importPath < b.importPath ? -1 : 1));
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

async function walk(folder: string, files: SourceFile[], depth: number): Promise<void> {
  if (depth > DEPTH_MAX) throw CompileError.of(folder, `more than ${DEPTH_MAX} folders deep`);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== "node_modules" && !entry.name.startsWith(".")) await walk(path, files, depth + 1);
    } else if (entry.name.endsWith(".proto")) {
      const found = await stat(path);
      if (!found.isFile()) continue;
      if (found.size > FILE_BYTES_MAX) throw CompileError.of(path, `larger than ${FILE_BYTES_MAX} bytes`);
      if (files.length === FILES_MAX) throw CompileError.of(folder, `more than ${FILES_MAX} .proto files`);
      files.push({ path, text: await readFile(path, "utf8") });
    }
  }
}

function importRoot(folder: string, files: readonly SourceFile[]): string {
  const own = resolve(folder);
  const spelled = rootSpelledByPackages(files);
  if (spelled === undefined || spelled === own) return own;
  return importsFound(own, files) > importsFound(spelled, files) ? own : spelled;
}

/** The one folder from which every file's place spells its package; undefined where there is none. */
function rootSpelledByPackages(files: readonly SourceFile[]): string | undefined {
  const roots = new Set<string | undefined>();
  for (const { path, text } of files) {
    const packageName = withoutComments(text).match(/^\s*package\s+([\w.]+)\s*;/m)?.[1];
    if (packageName !== undefined) roots.add(folderAbove(resolve(path, ".."), packageName.split(".")));
  }
  const [root] = roots;
  if (roots.size !== 1 || root === undefined) return undefined;
  return files.every(({ path }) => resolve(path).startsWith(root + sep)) ? root : undefined;
}

function folderAbove(folder: string, names: readonly string[]): string | undefined {
  const parts = folder.split(sep);
  const tail = parts.splice(parts.length - names.length, names.length);
  return tail.length === names.length && tail.every((part, index) => part === names[index])
    ? parts.join(sep)
    : undefined;
}

function importsFound(root: string, files: readonly SourceFile[]): number {
  const paths = new Set(files.map(({ path }) => resolve(path)));
  const imports = files.flatMap(({ text }) => [...withoutComments(text).matchAll(importStatement)]);
  return imports.filter(([, name]) => name !== undefined && paths.has(resolve(root, name))).length;
}

const importStatement = /^\s*import\s+(?:public\s+|weak\s+)?["']([^"']+)["']/gm;

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
}

function slashed(path: string): string {
  return sep === "/" ? path : path.replaceAll(sep, "/");
}
