// The kernel's table of connections, as Linux writes it.
import { expect, test } from "vitest";
import { parseTable } from "../../src/edge/unacknowledged.ts";

const HEAD =
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

test("kernel's table: bytes sent again, and a window probed → by ports and address, how many and how often", () => {
  const table = `${HEAD}   0: 0100007F:1F90 0200000A:C001 01 00000064:00000000 01:00000011 00000002     0        0 4711 2 0 100 0 10 -1
  17: 0100007F:1F90 0300000A:C002 01 00010000:00000000 04:0000013D 00000000  1000        5 4712 1 0 20 4 30 10 -1\n`;
  expect(parseTable(table)).toEqual([
    ["8080 49153 10.0.0.2", { bytes: 100, tries: 2 }],
    ["8080 49154 10.0.0.3", { bytes: 65_536, tries: 5 }],
  ]);
});

test("kernel's table: nothing under way, or a connection that isn't there yet or any more → not told", () => {
  const table = `${HEAD}   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0200000A:C001 01 00000000:00000000 02:00000011 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0100007F:1F90 0200000A:C002 04 00000064:00000000 01:00000011 00000003     0        0 0 1 0 20 4 30 10 -1\n`;
  expect(parseTable(table)).toEqual([]);
});

test("kernel's table: IPv6, and IPv4 within it → addresses as Node writes them", () => {
  const table = `${HEAD}   0: 00000000000000000000000001000000:1F90 B80D0120000000000000000001000000:C001 01 00000001:00000000 01:00000011 00000001     0        0 1 1 0 20 4 30 10 -1
   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200000A:C002 01 00000001:00000000 01:00000011 00000001     0        0 1 1 0 20 4 30 10 -1\n`;
  expect(parseTable(table).map(([key]) => key)).toEqual([
    "8080 49153 2001:db8::1",
    "8080 49154 ::ffff:10.0.0.2",
  ]);
});
