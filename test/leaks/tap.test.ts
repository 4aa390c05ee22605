// The recorder of sockets: it keeps what its client reads, and what comes when the client has gone.
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Tap } from "./tap.ts";

let server: ReturnType<typeof createServer>;
let tap: Tap;
let peer: Socket;

beforeEach(async () => {
  server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, "connection");
  tap = new Tap(`http://127.0.0.1:${port}`);
  [peer] = (await accepted) as [Socket];
});

afterEach(async () => {
  peer.destroy();
  server.close();
  await once(server, "close");
});

const received = () => Buffer.concat(tap.received).toString();

test("tap: what the client writes and reads → passes; what it reads is kept", async () => {
  tap.write("question");
  expect(String(await once(peer, "data"))).toBe("question");
  peer.write("answer");
  expect(String(await once(tap, "data"))).toBe("answer");
  expect(received()).toBe("answer");
});

test("tap: sent after its client has gone → kept, until the server ends the connection", async () => {
  peer.write("early ");
  await once(tap, "data");
  tap.destroy();
  peer.resume();
  await once(peer, "end");
  peer.end("late");
  await tap.ended;
  expect(received()).toBe("early late");
});

test("tap: more than its client takes → kept whole", async () => {
  const much = "much ".repeat(400_000);
  peer.end(much);
  tap.destroy();
  await tap.ended;
  expect(received()).toBe(much);
});
