// Which versions are older than which, and what becomes of clients that are too old.
import fc from "fast-check";
import { expect, test } from "vitest";
import { compareVersions, createClientVersions, readVersion } from "../../src/access/client-versions.ts";
import { SyncError } from "../../src/model/sync-error.ts";

test.each([
  // The order of semver.org's own example, then what it leaves open.
  ["1.0.0-alpha", "1.0.0-alpha.1"],
  ["1.0.0-alpha.1", "1.0.0-alpha.beta"],
  ["1.0.0-alpha.beta", "1.0.0-beta"],
  ["1.0.0-beta", "1.0.0-beta.2"],
  ["1.0.0-beta.2", "1.0.0-beta.11"],
  ["1.0.0-beta.11", "1.0.0-rc.1"],
  ["1.0.0-rc.1", "1.0.0"],
  ["1.9", "1.10"],
  ["2.3.9", "2.4"],
  ["2.4.0", "2.4.0.1"],
  ["9", "10"],
  ["1.99999999999999999999", "1.100000000000000000000"],
  ["dev", "0"],
  ["", "0.0.0-0"],
  ["2.x", "0.0.1"],
  ["1..2", "0.0.1"],
])("versions: %j < %j", (older, newer) => {
  expect(compareVersions(older, newer)).toBeLessThan(0);
  expect(compareVersions(newer, older)).toBeGreaterThan(0);
});

test.each([
  ["2", "2.0.0"],
  ["v2.4", "2.4.0"],
  ["2.4.0+build.5", "2.4.0+build.6"],
  ["02.04", "2.4"],
  ["dev", "nightly"],
  ["1.0.0-01", "1.0.0-1"],
])("versions: %j = %j", (one, other) => {
  expect(compareVersions(one, other)).toBe(0);
});

test("versions: any three → ordered the same way round", () => {
  const part = fc.oneof(fc.nat(12).map(String), fc.constantFrom("a", "b", "rc"));
  const version = fc
    .tuple(fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }), fc.array(part, { maxLength: 3 }))
    .map(([numbers, pre]) => numbers.join(".") + (pre.length > 0 ? `-${pre.join(".")}` : ""));
  fc.assert(
    fc.property(version, version, version, (a, b, c) => {
      expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) + 0);
      if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) {
        expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }
    }),
  );
});

test("versions: whatever a client calls itself → compared, never a fault", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      expect(Number.isFinite(compareVersions(a, b))).toBe(true);
      expect(readVersion(a) === undefined || /^v?\d/i.test(a)).toBe(true);
    }),
  );
});

const versions = createClientVersions({
  oldest: new Map([
    ["ios", "2.4.0"],
    ["web", "1.0"],
  ]),
  deprecated: new Map([["ios", "2.6"]]),
  upgradeUrls: new Map([["ios", "https://apps.example/ios"]]),
});
const client = (platform: string, version: string) => ({ platform, version, device: "" });

test.each([
  ["ios", "2.4.0"],
  ["ios", "3.0.0-beta"],
  ["web", "1.0.0"],
  ["android", "0.1"],
  ["android", "dev"],
])("clients: %s/%s → served", (platform, version) => {
  expect(() => versions.check(client(platform, version))).not.toThrow();
});

test("clients: one that doesn't name itself → served, without a notice", () => {
  expect(() => versions.check(undefined)).not.toThrow();
  expect(versions.notice(undefined)).toBeUndefined();
});

function refusal(platform: string, version: string): unknown {
  try {
    versions.check(client(platform, version));
  } catch (error) {
    if (error instanceof SyncError) {
      return { reason: error.reason, message: error.message, metadata: error.details.metadata };
    }
    throw error;
  }
  return undefined;
}

test.each(["2.3.9", "2.4.0-rc.1", "dev"])(
  "clients: ios/%s → CLIENT_TOO_OLD, with where to upgrade",
  (version) => {
    expect(refusal("ios", version)).toEqual({
      reason: "CLIENT_TOO_OLD",
      message: `ios/${version} is no longer served; upgrade to 2.4.0 or later: https://apps.example/ios`,
      metadata: { platform: "ios", version, oldest: "2.4.0", upgrade_url: "https://apps.example/ios" },
    });
  },
);

test("clients: too old, of a platform without an address → CLIENT_TOO_OLD, without one", () => {
  expect(refusal("web", "0.9")).toEqual({
    reason: "CLIENT_TOO_OLD",
    message: "web/0.9 is no longer served; upgrade to 1.0 or later",
    metadata: { platform: "web", version: "0.9", oldest: "1.0" },
  });
});

test("clients: about to go → told; newer, or of another platform → not", () => {
  expect(versions.notice(client("ios", "2.5.9"))).toBe(
    "ios/2.5.9 is about to go; upgrade to 2.6 or later: https://apps.example/ios",
  );
  expect(versions.notice(client("ios", "2.6.0"))).toBeUndefined();
  expect(versions.notice(client("web", "0.1"))).toBeUndefined();
});
