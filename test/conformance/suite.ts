// Runs the Connect conformance suite against the product's listener: once with server streams answered by Connect's
// handlers, once by the product's own writer.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProgram } from "../../src/mongo/binary/run-program.ts";
import { conformanceTools } from "./tools.ts";

/** `connect`: all cases. `writer`: those of server streams, answered by our own writer. */
export type Way = "connect" | "writer";

export interface Conformance {
  readonly way: Way;
  /** All that were run: those that passed, those that failed, and those that are known to. */
  readonly cases: number;
  readonly passed: number;
  readonly known: number;
  /** Cases run of each protocol. */
  readonly casesOf: Readonly<Record<string, number>>;
  /** What the suite says of each case that failed, its name first. */
  readonly failures: readonly string[];
}

/** What of the protocols the server offers; docs/conformance.md says why something isn't here. */
function config(way: Way): string {
  const streams =
    way === "writer"
      ? ["SERVER_STREAM"]
      : ["UNARY", "SERVER_STREAM", "CLIENT_STREAM", "HALF_DUPLEX_BIDI_STREAM", "FULL_DUPLEX_BIDI_STREAM"];
  return `features:
  versions: [HTTP_VERSION_1, HTTP_VERSION_2]
  protocols: [PROTOCOL_CONNECT, PROTOCOL_GRPC, PROTOCOL_GRPC_WEB]
  codecs: [CODEC_PROTO, CODEC_JSON]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP]
  streamTypes: [${streams.map((stream) => `STREAM_TYPE_${stream}`).join(", ")}]
  supportsH2c: true
  supportsTls: true
  supportsTlsClientCerts: true
  supportsTrailers: true
  supportsHalfDuplexBidiOverHttp1: false
  supportsConnectGet: true
  supportsMessageReceiveLimit: false
`;
}

/** Where the product says more than the suite expects; docs/conformance.md has the reasons. */
const KNOWN_FAILING = ["**/unexpected-uri"];

const RUN_MS_MAX = 180_000;
const BATCH = /^Running (\d+) tests with .*PROTOCOL_(\w+)/;
const FAILURE = /^FAILED: (.*):$/;
const SUMMARY = /Total cases: (\d+)\n(\d+) passed, (\d+) failed(?:\n\(Another (\d+) failed as expected)?/;

/** @throws Error if the suite doesn't run to its end. */
export async function runConformance(way: Way, progress: (line: string) => void): Promise<Conformance> {
  const { runner, descriptors } = await conformanceTools(progress);
  const folder = mkdtempSync(join(tmpdir(), "tidemark-conformance-"));
  try {
    const settings = join(folder, "config.yaml");
    writeFileSync(settings, config(way));
    const server = [process.execPath, join(import.meta.dirname, "server.ts"), descriptors, way];
    const known = way === "connect" ? KNOWN_FAILING.flatMap((name) => ["--known-failing", name]) : [];
    const flags = [...known, "-v", "--mode", "server", "--conf", settings, "-p", "4", "--max-servers", "2"];
    progress(`running the conformance suite (${way}) …`);
    const lines: string[] = [];
    const end = await runProgram(runner, [...flags, "--", ...server], {
      durationMsMax: RUN_MS_MAX,
      onLine: (line) => lines.push(line),
    });
    return { way, ...resultOf(lines, end.output) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function resultOf(lines: readonly string[], output: string): Omit<Conformance, "way"> {
  const [, cases, passed, failed, known = 0] = SUMMARY.exec(output) ?? [];
  if (cases === undefined) throw new Error(`the suite did not end by itself:\n${output}`);
  const casesOf: Record<string, number> = {};
  for (const line of lines) {
    const [, count, protocol] = BATCH.exec(line) ?? [];
    if (protocol !== undefined) casesOf[protocol] = (casesOf[protocol] ?? 0) + Number(count);
  }
  const failures = failuresIn(lines);
  if (failures.length !== Number(failed)) throw new Error(`the suite doesn't name what failed:\n${output}`);
  return { cases: Number(cases), passed: Number(passed), known: Number(known), casesOf, failures };
}

/** The lines after a case's name that are set in tell what is wrong. */
function failuresIn(lines: readonly string[]): string[] {
  return lines.flatMap((line, index) => {
    const [, name] = FAILURE.exec(line) ?? [];
    if (name === undefined) return [];
    const end = lines.findIndex((other, at) => at > index && !other.startsWith("\t"));
    return [[name, ...lines.slice(index + 1, end)].join("\n")];
  });
}
