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
  readonly cases: number;
  readonly failed: number;
  /** What the suite said last: names of failed cases among it. */
  readonly output: string;
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
const SUMMARY = /Total cases: (\d+)\n(\d+) passed, (\d+) failed/;

/** @throws Error if the suite doesn't run to its end. */
export async function runConformance(way: Way, progress: (line: string) => void): Promise<Conformance> {
  const { runner, descriptors } = await conformanceTools(progress);
  const folder = mkdtempSync(join(tmpdir(), "tidemark-conformance-"));
  try {
    const settings = join(folder, "config.yaml");
    writeFileSync(settings, config(way));
    const server = [process.execPath, join(import.meta.dirname, "server.ts"), descriptors, way];
    const known = way === "connect" ? KNOWN_FAILING.flatMap((name) => ["--known-failing", name]) : [];
    const flags = [...known, "--mode", "server", "--conf", settings, "-p", "4", "--max-servers", "2"];
    progress(`running the conformance suite (${way}) …`);
    const end = await runProgram(runner, [...flags, "--", ...server], { durationMsMax: RUN_MS_MAX });
    const [, cases, , failed] = SUMMARY.exec(end.output) ?? [];
    if (cases === undefined) throw new Error(`the suite did not end by itself:\n${end.output}`);
    return { way, cases: Number(cases), failed: Number(failed), output: end.output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
