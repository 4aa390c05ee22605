// The Connect conformance suite, all of what the server offers.
import { expect, it } from "vitest";
import { runConformance } from "./suite.ts";

const BUILD_AND_RUN_MS_MAX = 600_000;
const progress = (line: string) => process.stderr.write(`${line}\n`);

it.each([
  // docs/conformance.md names the known failures.
  { way: "connect", casesMin: 3_000, knownFailures: 10 },
  { way: "writer", casesMin: 1_000, knownFailures: 0 },
] as const)(
  "conformance: every case by $way → passes",
  async ({ way, casesMin, knownFailures }) => {
    const { cases, casesOf, failures, known } = await runConformance(way, progress);
    expect(failures).toEqual([]);
    expect(known).toBe(knownFailures);
    expect(cases).toBeGreaterThan(casesMin);
    expect(Object.keys(casesOf).sort()).toEqual(["CONNECT", "GRPC", "GRPC_WEB"]);
  },
  BUILD_AND_RUN_MS_MAX,
);
