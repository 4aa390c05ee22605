// What the CLI says: lines for human eyes, tokens, and wrong arguments.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { create } from "@bufbuild/protobuf";
import { decodeJwt } from "jose";
import { describe, expect, it } from "vitest";
import { ChangeSchema, RemoveReason } from "#gen/tidemark/v1/change_pb.js";
import { changeLine } from "../../src/cli/change-line.ts";
import { progressLine } from "../../src/cli/progress-bar.ts";
import type { RecordReader } from "../../src/cli/server-types.ts";
import { whatToTry } from "../../src/cli/what-to-try.ts";
import { settingsTable } from "../../src/config.ts";

const ROOT = join(import.meta.dirname, "../..");

async function tidemark(args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [join(ROOT, "src/cli/tidemark.ts"), ...args], {
    env: { PATH: process.env["PATH"], ...env },
  });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { out, err, code: child.exitCode };
}

describe("cli: a change as a line", () => {
  const read: RecordReader = (_collection, { record }) =>
    record?.form.case === "json" ? record.form.value : undefined;
  const json = (value: Record<string, string | boolean | null>) => ({
    form: { case: "json" as const, value },
  });

  it.each([
    [{ case: "put" as const, value: { record: json({ id: "a", title: "One" }) } }, '+ todos/a  title="One"'],
    [
      { case: "put" as const, value: { record: json({ done: true, notes: null }), changed: [4, 3] } },
      "~ todos/a  done=true notes=(cleared)",
    ],
    [{ case: "remove" as const, value: { reason: RemoveReason.DELETED } }, "- todos/a  deleted"],
    [{ case: "remove" as const, value: { reason: RemoveReason.REVOKED } }, "- todos/a  no longer granted"],
    [
      { case: "put" as const, value: { record: json({ title: "👩\u200d🚒\u009b2J\u202e\n" }) } },
      '+ todos/a  title="👩\u200d🚒�2J�\\n"',
    ],
    [{ case: undefined }, "? todos/a  a kind of change this client is too old for"],
  ])("%j → %s", (kind, line) => {
    expect(changeLine(create(ChangeSchema, { collection: "todos", recordId: "a", kind }), read)).toBe(line);
  });
});

describe("cli: progress", () => {
  it.each([
    [0, 100, "[░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░] 0 %  0 of 100 · 0/s"],
    [50, 100, "[███████████████░░░░░░░░░░░░░░░] 50 %  50 of 100 · 50/s"],
    [120, 100, "[██████████████████████████████] 100 %  120 of 100 · 120/s"],
    [0, 0, "[██████████████████████████████] 100 %  0 of 0 · 0/s"],
  ])("%i of %i", (done, total, line) => {
    expect(progressLine({ done, total, elapsedMs: 1000 })).toBe(line);
  });
});

describe("cli: commands", () => {
  it("no command → the list of them", async () => {
    const { out, code } = await tidemark([]);
    expect(code).toBe(0);
    for (const name of ["dev", "serve", "pull", "token", "why", "generate"])
      expect(out).toContain(`\n  ${name}`);
  });

  it.each(["dev", "serve", "pull", "token", "why", "generate"])("%s --help → its usage", async (name) => {
    const { out, code } = await tidemark([name, "--help"]);
    expect({ code, usage: out.includes(`Usage: tidemark ${name}`) }).toEqual({ code: 0, usage: true });
  });

  it.each([
    [["sync"], 'there is no command "sync"'],
    [["pull", "--nonsense"], "Unknown option '--nonsense'"],
    [["pull", "--url", "nowhere"], "is not a URL"],
    [["token"], "name one principal"],
    [["token", "ana"], "TIDEMARK_TOKEN_SECRET is not set"],
    [["generate"], "say what to write"],
  ])("%j → exit code 2 and %s", async (args, says) => {
    const { err, code } = await tidemark(args);
    expect({ code, says: err.includes(says) ? says : err }).toEqual({ code: 2, says });
  });

  it("serve without settings → every fault at once, exit code 1", async () => {
    const { err, code } = await tidemark(["serve"], { PORT: "x", MONGODB_URI: "mongodb://127.0.0.1:1" });
    expect(code).toBe(1);
    for (const name of ["PORT", "TIDEMARK_TOKEN_SECRET", "MONGODB_DB"]) expect(err).toContain(`${name}:`);
  });

  it("token --service → its claim", async () => {
    const { out } = await tidemark(["token", "billing", "--service"], {
      TIDEMARK_TOKEN_SECRET: "a-secret-of-at-least-32-bytes-for-the-test",
    });
    expect(decodeJwt(out.trim())).toMatchObject({ sub: "billing", tidemark_service: true });
  });

  it("token where a server asks for issuer and audience → has them, unless its claims say otherwise", async () => {
    const env = {
      TIDEMARK_TOKEN_SECRET: "0123456789abcdef0123456789abcdef",
      TIDEMARK_TOKEN_ISSUER: "https://issuer.example/",
      TIDEMARK_TOKEN_AUDIENCE: "tidemark, sync",
    };
    const { out } = await tidemark(["token", "ana"], env);
    expect(decodeJwt(out.trim())).toMatchObject({ iss: "https://issuer.example/", aud: "tidemark" });
    const { out: other } = await tidemark(["token", "ana", "--claims", '{"aud":"other"}'], env);
    expect(decodeJwt(other.trim())).toMatchObject({ iss: "https://issuer.example/", aud: "other" });
  });

  it("token → signed for the principal, with its claims", async () => {
    const secret = { TIDEMARK_TOKEN_SECRET: "0123456789abcdef0123456789abcdef" };
    const { out } = await tidemark(
      ["token", "ana", "--ttl", "60", "--claims", '{"teams":["t1"]}', "--json"],
      secret,
    );
    const { token, expiresInSeconds } = JSON.parse(out);
    expect(expiresInSeconds).toBe(60);
    expect(decodeJwt(token)).toMatchObject({ sub: "ana", teams: ["t1"] });
  });
});

describe("cli: what to try", () => {
  const server = {
    url: "http://localhost:8080",
    mongodbUri: "mongodb://x/?a=1&b=2",
    isDemo: true,
    records: "3",
    settings: {},
  };

  it("another port → every line names it", () => {
    const text = whatToTry({ ...server, url: "http://localhost:9" });
    expect(text).not.toContain("8080");
    expect(text.match(/localhost:9/g)?.length).toBeGreaterThan(5);
  });

  it("a Connect stream for curl → the envelope's length is the message's", () => {
    const [, octal, message] =
      /printf '\\000\\000\\000\\000\\(\d{3})(\{[^']*\})'/.exec(whatToTry(server)) ?? [];
    expect(message?.length).toBe(Number.parseInt(octal ?? "", 8));
  });

  it("settings left at their defaults → commands without any, the database's URI in quotes", () => {
    const text = whatToTry({ ...server, settings: { TIDEMARK_DATA: undefined, MONGODB_DB: "" } });
    expect(text).toContain("  npx tidemark why todos/milk\n");
    expect(text).toContain(
      "  npx node examples/teams/membership.ts revoke ben harbour 'mongodb://x/?a=1&b=2'\n",
    );
  });

  it("settings given → to the commands that read the database, each those it needs, fit for a shell", () => {
    const text = whatToTry({ ...server, settings: { TIDEMARK_DATA: "/ben's data", MONGODB_DB: "shop" } });
    expect(text).toContain(
      "  TIDEMARK_DATA='/ben'\\''s data' MONGODB_DB='shop' npx tidemark why todos/milk\n",
    );
    expect(text).toContain("  MONGODB_DB='shop' npx node examples/teams/membership.ts grant ben harbour");
  });

  it("a schema of one's own → nothing of the demo's", () => {
    expect(whatToTry({ ...server, isDemo: false })).not.toMatch(/todos|ben|cities/);
  });
});

it("README: the settings table is the one in force", () => {
  expect(readFileSync(join(ROOT, "README.md"), "utf8")).toContain(settingsTable());
});
