// The README's schema for access says what the README says of it.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compileProtos } from "../../src/generate/compile-protos.ts";
import { readSchema } from "../../src/schema/schema.ts";
import { grantsOfClaims } from "../../src/schema/scopes.ts";
import { folderOf } from "../support/folder-of.ts";

test("README: the schema of `Secure it` → compiles, and grants what its comments say", async () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, section = ""] = readme.split("\n## Secure it\n");
  const [, proto = ""] = /```proto\n([^`]*)```/.exec(section) ?? [];
  const schema = readSchema(await compileProtos(await folderOf({ "crew/v1/crew.proto": proto })));
  const granted = grantsOfClaims(schema, { sub: "ana", teams: ["red", "blue"] });
  expect(Object.fromEntries(granted)).toEqual({
    "user:ana": "READ_WRITE",
    "team:red": "READ",
    "team:blue": "READ",
  });
  expect(schema.collections.get("memberships")?.grant).toBeDefined();
});
