// A team's folder of .proto files becomes a descriptor set, or every fault with the team's own path and line.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { CompileError, type CompileFault } from "../../src/generate/compile-error.ts";
import { compileContract, compileProtos } from "../../src/generate/compile-protos.ts";
import { folderOf } from "../support/folder-of.ts";
import { protoFile } from "./proto-file.ts";

const note = protoFile("acme.v1", "// Note is a note.\nmessage Note { string id = 1; }");
const book = protoFile("acme.v1", "message Book { repeated Note notes = 1; }", ["acme/v1/note.proto"]);

const names = (set: FileDescriptorSet) => set.file.map((file) => file.name);

async function faultsOf(work: Promise<unknown>): Promise<readonly CompileFault[]> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CompileError);
  return error instanceof CompileError ? error.faults : [];
}

describe("import paths", () => {
  const nested = { "proto/acme/v1/note.proto": note, "proto/acme/v1/book.proto": book };

  test.each(["proto", "proto/acme", "proto/acme/v1", "."])("compile: the same from %s", async (within) => {
    const folder = await folderOf(nested);
    expect(names(await compileProtos(join(folder, within)))).toEqual([
      "acme/v1/note.proto",
      "acme/v1/book.proto",
    ]);
  });

  test("compile: packages that don't spell their folders → the folder itself is the root", async () => {
    const folder = await folderOf({
      "note.proto": note,
      "more/book.proto": protoFile("acme.v1", "message Book { Note note = 1; }", ["note.proto"]),
    });
    expect(names(await compileProtos(folder))).toEqual(["note.proto", "more/book.proto"]);
  });

  test("compile: a folder that happens to be named like the package, imports without it → imports decide", async () => {
    const folder = await folderOf({
      "acme/note.proto": protoFile("acme", "message Note {}"),
      "acme/book.proto": protoFile("acme", "message Book { Note note = 1; }", ["note.proto"]),
    });
    expect(names(await compileProtos(join(folder, "acme")))).toEqual(["note.proto", "book.proto"]);
  });

  test("compile: node_modules, dot folders and the team's own copies of what is brought → left out", async () => {
    const folder = await folderOf({
      "acme/v1/note.proto": protoFile("acme.v1", "message Note { tidemark.v1.Access access = 1; }", [
        "tidemark/v1/access.proto",
      ]),
      "tidemark/v1/access.proto": "not a proto",
      "buf/validate/validate.proto": "not a proto",
      "google/protobuf/timestamp.proto": "not a proto",
      "node_modules/x/y.proto": "not a proto",
      ".git/z.proto": "not a proto",
    });
    expect(names(await compileProtos(folder))).toEqual(["tidemark/v1/access.proto", "acme/v1/note.proto"]);
  });
});

describe("the set", () => {
  test("compile: comments and positions are kept", async () => {
    const set = await compileProtos(await folderOf({ "acme/v1/note.proto": note }));
    const comments = set.file[0]?.sourceCodeInfo?.location.map((at) => at.leadingComments);
    expect(comments).toContain(" Note is a note.\n");
  });

  test("compile: validate.proto comes as the genuine descriptor, with its options", async () => {
    const set = await compileProtos(
      await folderOf({
        "acme/v1/note.proto": protoFile(
          "acme.v1",
          "message Note { string id = 1 [(buf.validate.field).string.min_len = 1]; }",
          ["buf/validate/validate.proto"],
        ),
      }),
    );
    const validate = set.file.find((file) => file.name === "buf/validate/validate.proto");
    const minLen = validate?.messageType
      .find((m) => m.name === "StringRules")
      ?.field.find((f) => f.name === "min_len");
    expect(minLen?.options?.$unknown?.length).toBe(1);
  });

  test("compile: the contract → services and every file under proto/tidemark/v1", async () => {
    const own = readdirSync(join(import.meta.dirname, "../../proto/tidemark/v1")).map(
      (n) => `tidemark/v1/${n}`,
    );
    expect(names(await compileContract())).toEqual(expect.arrayContaining(own));
  });

  test("compile: nothing is left in the temporary folder, after success and after failure", async () => {
    const temporary = await folderOf({});
    vi.stubEnv("TMPDIR", temporary);
    onTestFinished(() => void vi.unstubAllEnvs());
    await compileProtos(join(import.meta.dirname, "../../proto/demo"));
    await faultsOf(compileProtos(await folderOf({ "a.proto": "nonsense" })));
    expect(readdirSync(temporary).filter((name) => name.startsWith("tidemark-buf-"))).toEqual([]);
  });

  test("compile: aborted → the signal's reason", async () => {
    const folder = await folderOf({ "acme/v1/note.proto": note });
    await expect(compileProtos(folder, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
  });
});

describe("faults", () => {
  test("compile: several faults in several files → all of them, by the team's own paths", async () => {
    const folder = await folderOf({
      "acme/v1/note.proto": 'syntax = "proto3";\npackage acme.v1;\nmessage Note {\n  Nothing a = 1;\n}\n',
      "acme/v1/book.proto": protoFile("acme.v1", "message Book {}", ["gone/away.proto"]),
    });
    const faults = await faultsOf(compileProtos(folder));
    expect(faults.map(({ file, line, column }) => ({ file, line, column }))).toEqual([
      { file: join(folder, "acme/v1/book.proto"), line: 4, column: 1 },
      { file: join(folder, "acme/v1/note.proto"), line: 4, column: 3 },
    ]);
    expect(faults[0]?.message).toBe('imported file does not exist: "gone/away.proto"');
    expect(faults[1]?.message).toContain("Nothing");
  });

  test("compile: an unknown tidemark option → the place where it stands", async () => {
    const body = 'message Note { option (tidemark.v1.collection).nam = "notes"; }';
    const folder = await folderOf({
      "acme/v1/note.proto": protoFile("acme.v1", body, ["tidemark/v1/schema.proto"]),
    });
    expect(await faultsOf(compileProtos(folder))).toMatchObject([{ line: 5, column: 47 }]);
  });

  test("compile: an empty folder, and one with only brought files → said", async () => {
    const empty = await folderOf({ "README.md": "nothing" });
    expect(await faultsOf(compileProtos(empty))).toMatchObject([{ file: empty, line: 0 }]);
    const brought = await folderOf({ "tidemark/v1/access.proto": "" });
    expect(await faultsOf(compileProtos(brought))).toMatchObject([{ file: brought, line: 0 }]);
  });
});
