// The header by which clients name themselves.
import { expect, test } from "vitest";
import { readClientHeader } from "../../src/access/client-header.ts";

test.each([
  ["ios/2.4.0; device=6f1c", { platform: "ios", version: "2.4.0", device: "6f1c" }],
  ["Android/1.0.0-beta+3;device=a b", undefined],
  ["web/1", { platform: "web", version: "1", device: "" }],
  ['  WEB / 1.2 ;  Device = "d-1" ; locale=de', { platform: "web", version: "1.2", device: "d-1" }],
  ["web/1.2; locale=de", { platform: "web", version: "1.2", device: "" }],
  ["web/1.2;", { platform: "web", version: "1.2", device: "" }],
  ["web", undefined],
  ["/1.0", undefined],
  ["web/", undefined],
  ["we b/1.0", undefined],
  ["web/1.0; device=", undefined],
  ["web/1.0; device=ü", undefined],
  [`web/1.0; device=${"d".repeat(129)}`, undefined],
  [`web/1.0; x=${"y".repeat(600)}`, undefined],
])("client header: %s → read, or INVALID_REQUEST", (header, identity) => {
  if (identity) expect(readClientHeader(header)).toEqual(identity);
  else expect(() => readClientHeader(header)).toThrow(expect.objectContaining({ reason: "INVALID_REQUEST" }));
});

test("client header: none, or an empty one → no identity", () => {
  expect(readClientHeader(undefined)).toBeUndefined();
  expect(readClientHeader(" ")).toBeUndefined();
});
