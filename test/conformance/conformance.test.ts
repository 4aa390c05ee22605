// The Connect conformance suite, all of what the server offers.
import { expect, it } from "vitest";
import { runConformance } from "./suite.ts";

const BUILD_AND_RUN_MS_MAX = 600_000;
const progress = (line: string) => process.stderr.write(`${line}\n`);

it.each([
  { way: "connect", casesMin: 3_000 },
  { way: "writer", casesMin: 1_000 },
] as const)(
  "conformance: every case by $way → passes",
  async ({ way, casesMin }) => {
    const { cases, failed, output } = await runConformance(way, progress);
    expect(failed, output).toBe(0);
    expect(cases).toBeGreaterThan(casesMin);
  },
  BUILD_AND_RUN_MS_MAX,
);
