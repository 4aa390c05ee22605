// Reads the import table of src/README.md: which folder may import which folders and packages.

/** One row of the table. */
export interface Row {
  /** Folders end in a slash, files in `.ts`. */
  readonly owners: readonly string[];
  /** `src/…/` folders, `src/….ts` files, `gen/`. */
  readonly folders: readonly string[];
  /** Packages whose import is guarded: only rows that name them have them. */
  readonly packages: readonly string[];
  /** Anything goes: the wiring. */
  readonly all: boolean;
}

/** The rows about `src/`, in the table's order. @throws Error where there is no such table or it names an unknown word. */
export function readImportTable(markdown: string): Row[] {
  const lines = markdown.split("\n");
  const start = lines.findIndex((line) => /^\| folder \| owns \| may import \|/.test(line));
  if (start < 0) throw new Error("no table `| folder | owns | may import |`");
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  const cells = lines.slice(start + 2, end < 0 ? undefined : end).map((line) => line.split("|").slice(1, -1));
  const rows = cells
    .map((row) => [row[0] ?? "", row[2] ?? ""] as const)
    .filter(([owners]) => owners.includes("`src/"));
  const known = rows.flatMap(([owners]) => ticked(owners));
  return rows.map(([owners, may], index) => {
    const above = rows.slice(0, index).flatMap(([other]) => ticked(other));
    return readRow(ticked(owners), may, { known, above });
  });
}

interface Places {
  readonly known: readonly string[];
  readonly above: readonly string[];
}

function readRow(owners: readonly string[], may: string, { known, above }: Places): Row {
  const packages = ticked(may);
  const words: string[] = may.replace(/`[^`]*`/g, "").match(/all above|[a-z][\w-]*/g) ?? [];
  const folders = words
    .filter((word) => word !== "all")
    .flatMap((word) => (word === "all above" ? above : placeOf(word, known)));
  return { owners, folders, packages, all: words.includes("all") };
}

function placeOf(word: string, known: readonly string[]): string {
  if (word === "gen") return "gen/";
  const place = known.find((name) => name === `src/${word}/` || name === `src/${word}.ts`);
  if (place === undefined) throw new Error(`the import table names "${word}", which has no row`);
  return place;
}

function ticked(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].flatMap(([, name]) => (name === undefined ? [] : [name]));
}
