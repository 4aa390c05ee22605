// The house's rules that no tool checks: who imports whom, no cycles, short files, an opening comment, nothing
// switched off. Pure: files come in as texts, breaches go out as sentences.
import { posix } from "node:path";
import type { Row } from "./import-table.ts";

/** Path from the repository's root, with slashes → text. */
export type Files = ReadonlyMap<string, string>;

const FILE_LINES_MAX = 400;
const OPENING_LINES_MAX = 6;

/** Every breach in the files, as `path: what is wrong`. */
export function breachesOf(files: Files, rows: readonly Row[]): string[] {
  return [
    ...[...files].flatMap(([path, text]) => breachesOfFile(path, text).map((breach) => `${path}: ${breach}`)),
    ...[...files.keys()]
      .filter((path) => path.startsWith("src/"))
      .flatMap((path) => forbiddenImports(path, files, rows)),
    ...cycles(files),
  ];
}

function breachesOfFile(path: string, text: string): string[] {
  const lines = text.replace(/^#!.*\n/, "").split("\n");
  const opening = lines.findIndex((line) => !line.startsWith("//"));
  const breaches: string[] = [];
  if (lines.length > FILE_LINES_MAX) breaches.push(`${lines.length} lines, at most ${FILE_LINES_MAX}`);
  if (opening === 0) breaches.push("begins without a comment that says what it owns");
  if (opening > OPENING_LINES_MAX)
    breaches.push(`an opening comment of ${opening} lines, at most ${OPENING_LINES_MAX}`);
  for (const word of switchedOff) {
    const found = text.match(word);
    if (found !== null) breaches.push(`holds "${found[0]}"`);
  }
  if (path.startsWith("test/") && /\b(?:setTimeout|sleep)\(/.test(text))
    breaches.push("sleeps: wait on a condition");
  return breaches;
}

// Written in two parts: this file is checked as well.
const switchedOff = [
  ["biome", "-ignore"],
  ["@ts", "-ignore"],
  ["@ts", "-nocheck"],
  ["@ts", "-expect-error"],
  ["TO", "DO"],
  ["FIX", "ME"],
].map((parts) => new RegExp(`(?<!\\w)${parts.join("")}(?!\\w)`));

function forbiddenImports(path: string, files: Files, rows: readonly Row[]): string[] {
  const row = rows.find(({ owners }) => owners.some((owner) => isWithin(path, owner)));
  if (row === undefined) return [`${path}: its folder has no row in the import table`];
  if (row.all) return [];
  const guarded = new Set(rows.flatMap(({ packages }) => packages));
  return importsOf(path, files)
    .filter((target) => !isAllowed(target, row, guarded))
    .map((target) => `${path}: may not import ${target}`);
}

function isAllowed(target: string, row: Row, guarded: ReadonlySet<string>): boolean {
  if (target.startsWith("src/") || target.startsWith("gen/")) {
    return [...row.owners, ...row.folders].some((place) => isWithin(target, place));
  }
  if (target.startsWith("node:")) return true;
  const name = target.split("/", target.startsWith("@") ? 2 : 1).join("/");
  return !guarded.has(name) || row.packages.includes(name);
}

function isWithin(path: string, place: string): boolean {
  return place.endsWith("/") ? path.startsWith(place) : path === place;
}

/** What a file imports: paths from the root for the project's own, specifiers for packages. */
function importsOf(path: string, files: Files, statement = anyImport): string[] {
  return [...(files.get(path) ?? "").matchAll(statement)].map(([, fixed, lazy]) => {
    const name = fixed ?? lazy ?? "";
    if (name.startsWith("#gen/")) return `gen/ts/${name.slice("#gen/".length)}`;
    return name.startsWith(".") ? posix.join(posix.dirname(path), name) : name;
  });
}

const anyImport = /^(?:import|export)\b[^;"]*?"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;
/** Leaves out `import type`: those are gone at run time, a circle of them can't load files in the wrong order. */
const loadingImport = /^(?:import|export)\b(?! type\b)[^;"]*?"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;

/** One sentence per cycle found; a file that takes part in several is named in one. */
function cycles(files: Files): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const start = way.indexOf(path);
    if (start >= 0) found.push(`imports go in a circle: ${[...way.slice(start), path].join(" → ")}`);
    if (start >= 0 || done.has(path)) return;
    for (const target of importsOf(path, files, loadingImport))
      if (files.has(target)) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of files.keys()) visit(path, []);
  return found;
}
