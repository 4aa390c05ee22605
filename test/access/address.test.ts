// Whose address a caller has: spellings, groups, and what proxies may say of it.
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  addressGroup,
  callerAddress,
  canonicalAddress,
  readTrustedProxies,
} from "../../src/access/address.ts";

test.each([
  ["203.0.113.7", "203.0.113.7"],
  [" 203.0.113.7 ", "203.0.113.7"],
  ["203.0.113.7:4711", "203.0.113.7"],
  ["::ffff:203.0.113.7", "203.0.113.7"],
  ["::FFFF:cb00:7107", "203.0.113.7"],
  ["[::ffff:203.0.113.7]:80", "203.0.113.7"],
  ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
  ["[2001:db8::1]:443", "2001:db8::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  ["fe80::1%eth0", "fe80::1"],
  ["::", "::"],
  ["::1", "::1"],
])("address: %s → %s", (text, canonical) => {
  expect(canonicalAddress(text)).toBe(canonical);
});

test.each([
  "",
  "unknown",
  "_hidden",
  "1.2.3",
  "1.2.3.256",
  "1.2.3.4.5",
  "::1::",
  "[::1",
  "1.2.3.4/8",
  "a:1",
  "☃",
])("address: %j → none", (text) => {
  expect(canonicalAddress(text)).toBeUndefined();
});

test.each([
  ["203.0.113.7", "203.0.113.7"],
  ["::ffff:203.0.113.7", "203.0.113.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
  ["2001:db8::9", "2001:db8:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["", ""],
])("address group: %s → %s", (address, group) => {
  expect(addressGroup(address)).toBe(group);
});

test("address group: all of a /64 → one; the next /64 → another", () => {
  const part = fc.integer({ min: 0, max: 0xffff }).map((number) => number.toString(16));
  fc.assert(
    fc.property(
      fc.array(part, { minLength: 8, maxLength: 8 }),
      fc.array(part, { minLength: 4, maxLength: 4 }),
      (groups, host) => {
        fc.pre(groups.slice(0, 5).some((group) => group !== "0"));
        const neighbour = [...groups.slice(0, 4), ...host].join(":");
        fc.pre(!canonicalAddress(neighbour)?.includes("."));
        expect(addressGroup(neighbour)).toBe(addressGroup(groups.join(":")));
        const next = (Number.parseInt(groups[3] ?? "0", 16) ^ 1).toString(16);
        expect(addressGroup([...groups.slice(0, 3), next, ...host].join(":"))).not.toBe(
          addressGroup(neighbour),
        );
      },
    ),
  );
});

const trusted = readTrustedProxies(["10.0.0.0/8", "192.0.2.1", "2001:db8:ffff::/48"]);

test.each<[string, string, string | undefined, string]>([
  ["no header", "10.0.0.1", undefined, "10.0.0.1"],
  ["one proxy", "10.0.0.1", "203.0.113.7", "203.0.113.7"],
  ["two proxies", "10.0.0.1", "203.0.113.7, 192.0.2.1", "203.0.113.7"],
  ["a mapped proxy", "::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"],
  ["an IPv6 proxy and caller", "2001:db8:ffff::5", "2001:db8:1::7", "2001:db8:1::7"],
  ["a port beside the address", "10.0.0.1", "203.0.113.7:5000", "203.0.113.7"],
  ["a header the caller made up before the proxy's entry", "10.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"],
  ["a caller that claims to be a proxy", "10.0.0.1", "1.1.1.1, 10.9.9.9, 203.0.113.7", "203.0.113.7"],
  ["a peer that is no proxy", "203.0.113.9", "1.1.1.1", "203.0.113.9"],
  ["only proxies", "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"],
  ["garbage", "10.0.0.1", "unknown", "10.0.0.1"],
  ["garbage behind a proxy's proxy", "10.0.0.1", "203.0.113.7, <x>, 10.0.0.2", "10.0.0.2"],
  ["an empty header", "10.0.0.1", "", "10.0.0.1"],
  ["commas", "10.0.0.1", ",,,", "10.0.0.1"],
  ["a connection that is gone", "", "203.0.113.7", ""],
])("x-forwarded-for: %s → %4$s", (_, peer, header, address) => {
  expect(callerAddress(peer, header, trusted)).toBe(address);
});

test("x-forwarded-for: nobody trusted → ignored, whatever it says", () => {
  fc.assert(
    fc.property(fc.string(), (header) => {
      expect(callerAddress("10.0.0.1", header, readTrustedProxies([]))).toBe("10.0.0.1");
    }),
  );
});

test("x-forwarded-for: anything at all → an address, never a fault", () => {
  const hop = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.constant("10.0.0.9"));
  fc.assert(
    fc.property(fc.array(hop, { maxLength: 50 }), (hops) => {
      const address = callerAddress("10.0.0.1", hops.join(","), trusted);
      expect(canonicalAddress(address)).toBe(address);
    }),
  );
});

test("x-forwarded-for: a million hops of proxies → read from the end only", () => {
  const header = `203.0.113.7,${"10.0.0.2,".repeat(1_000_000)}10.0.0.3`;
  expect(callerAddress("10.0.0.1", header, trusted)).toBe("10.0.0.2");
});

test.each([
  "10.0.0.0/33",
  "::/129",
  "10.0.0",
  "x",
  "",
  "10.0.0.0/",
  "10.0.0.0/-1",
  "0.0.0.0/0",
  "::/0",
  "10.0.0.0/8/8",
])("trusted proxies: %j → refused", (range) => {
  expect(() => readTrustedProxies([range])).toThrow(/takes addresses or ranges|name its own address/);
});
