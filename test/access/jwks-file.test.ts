// Keys in a file: read when they change on disk, however they are replaced; what can't be used leaves them in force.
import { mkdir, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LOOK_MS, openJwksFile } from "../../src/access/jwks-file.ts";
import { KEY_SET_BYTES_MAX } from "../../src/access/key-set.ts";
import { FakeClock } from "../pull/fake-clock.ts";
import { folderOf } from "../support/folder-of.ts";
import { keptLog } from "../support/log-lines.ts";
import { jwks, signer } from "./issuer-fixture.ts";

const [k1, k2] = await Promise.all([signer("k1"), signer("k2")]);

async function open(path: string) {
  const clock = new FakeClock();
  const log = keptLog();
  const source = await openJwksFile({ path, clock, logger: log.logger });
  const has = async (kid: string) =>
    (await source.find({ header: { alg: "ES256", kid }, issuedAtMs: undefined })) !== undefined;
  return { clock, log, has };
}

async function fileOf(text: string | Uint8Array = jwks(k1)): Promise<string> {
  return join(await folderOf({ "keys.json": text }), "keys.json");
}

test("jwks file: a key laid into it → found at once; one taken out → refused within a second", async () => {
  const path = await fileOf();
  const { has, clock } = await open(path);
  expect([await has("k1"), await has("k2")]).toEqual([true, false]);
  await writeFile(path, jwks(k1, k2));
  expect(await has("k2")).toBe(true);
  await writeFile(path, jwks(k2));
  clock.advance(LOOK_MS);
  expect([await has("k1"), await has("k2")]).toEqual([false, true]);
});

test("jwks file: replaced by one of the same size and time → read anew", async () => {
  const path = await fileOf();
  const { has, clock } = await open(path);
  const then = new Date(1_700_000_000_000);
  await utimes(path, then, then);
  clock.advance(LOOK_MS);
  expect(await has("k1")).toBe(true);
  await writeFile(`${path}.new`, jwks(k2));
  await utimes(`${path}.new`, then, then);
  await rename(`${path}.new`, path);
  clock.advance(LOOK_MS);
  expect([await has("k1"), await has("k2")]).toEqual([false, true]);
});

test("jwks file: a link that is turned to another folder, as Kubernetes does → read anew", async () => {
  const folder = await folderOf({ "a/keys.json": jwks(k1), "b/keys.json": jwks(k2) });
  await symlink("a", join(folder, "now"));
  const { has, clock } = await open(join(folder, "now/keys.json"));
  expect(await has("k1")).toBe(true);
  await symlink("b", join(folder, "next"));
  await rename(join(folder, "next"), join(folder, "now"));
  clock.advance(LOOK_MS);
  expect([await has("k1"), await has("k2")]).toEqual([false, true]);
});

const broken: [string, (path: string) => Promise<unknown>, string][] = [
  ["half a file", (path) => writeFile(path, jwks(k1, k2).slice(0, 100)), "it is no JSON"],
  ["an empty file", (path) => writeFile(path, ""), "it is no JSON"],
  ["no keys", (path) => writeFile(path, jwks()), "it holds no public key to verify tokens with"],
  [
    "too large a file",
    (path) => writeFile(path, " ".repeat(KEY_SET_BYTES_MAX + 1)),
    "it has more than 524288 bytes",
  ],
  ["no file", (path) => rm(path), "it can't be read (ENOENT)"],
  ["a folder", (path) => rm(path).then(() => mkdir(path)), "it is no file"],
];

test.each(broken)(
  "jwks file: %s in its place → told once, keys of before hold; mended → read",
  async (_, break_, fault) => {
    const path = await fileOf();
    const { has, clock, log } = await open(path);
    await break_(path);
    for (let call = 0; call < 3; call++) {
      clock.advance(LOOK_MS);
      expect([await has("k1"), await has("k2")]).toEqual([true, false]);
    }
    expect(log.lines).toMatchObject([{ level: "warn", fields: { path, fault } }]);
    await rm(path, { recursive: true, force: true });
    await writeFile(path, jwks(k2));
    expect([await has("k2"), await has("k1")]).toEqual([true, false]);
    expect(log.lines).toHaveLength(2);
  },
);

test.each(broken)("jwks file: %s at the start → refused", async (_, break_, fault) => {
  const path = await fileOf();
  await break_(path);
  await expect(open(path)).rejects.toThrow(fault);
});

test("jwks file: a private key among the others → left out, with a warning", async () => {
  const path = await fileOf(JSON.stringify({ keys: [k1.jwk, k2.privateJwk] }));
  const { has, log } = await open(path);
  expect([await has("k1"), await has("k2")]).toEqual([true, false]);
  expect(log.troubles()).toHaveLength(1);
});
