// One history: a program writes while devices of several principals pull, page, push, ask and lie, over every door; then
// every byte they were sent is checked. A seed repeats the choices, not the timing.
import { once } from "node:events";
import { anythingElse, push, receipts } from "./asks.ts";
import type { Connection } from "./book.ts";
import { type Cast, castOf, randomOfPart } from "./cast.ts";
import { Checker, type Tally } from "./checker.ts";
import { Device } from "./device.ts";
import type { World } from "./world.ts";
import { Writer } from "./writer.ts";

const WRITES = 10;
const ACTIONS = 4;

export interface HistoryResult {
  readonly leaks: readonly string[];
  readonly tally: Tally;
}

/** @throws what the test itself can't do; what the server says, or fails to, is no failure here. */
export async function runHistory(world: World, seed: string): Promise<HistoryResult> {
  const cast = castOf(seed);
  for (const [place, ids] of Object.entries(cast.ids)) {
    const idOf = (id: string) => ({ principal: cast.name, record: `${place}/${id}`, kind: "id" }) as const;
    for (const id of ids) world.book.proposals.set(id, idOf(id));
  }
  const random = randomOfPart(cast, "history");
  const writer = new Writer(world, cast, randomOfPart(cast, "writer"));
  await writer.begin(random.below(40) === 0);
  const devices = devicesOf(world, cast, writer);
  try {
    await Promise.all([writer.run(random.below(20) === 0 ? 0 : WRITES), ...devices.map(act)]);
  } finally {
    await Promise.all(devices.map((device) => device.close()));
  }
  await writer.sweep();
  return await checkConnections(world, cast.connections);
}

/** What was sent on connections that are closed, and what the servers wrote meanwhile. */
export async function checkConnections(
  { book, truth, learn, takeLog }: World,
  connections: readonly Connection[],
): Promise<HistoryResult> {
  const now = await book.now();
  for (const { exchanges } of connections) {
    for (const exchange of exchanges) if (exchange.ended > now) exchange.ended = now;
  }
  const lines = takeLog();
  await learn();
  const checker = new Checker(truth, book);
  const sent = connections.flatMap((connection) => checker.connection(connection));
  return { leaks: [...sent, ...lines.flatMap((line) => checker.logLine(line))], tally: checker.tally };
}

function devicesOf(world: World, cast: Cast, writer: Writer): Device[] {
  const [ana, ben, cleo] = cast.users;
  const of = (principal: string | undefined, name: string) => {
    const random = randomOfPart(cast, name);
    const isService = name === "service";
    return new Device({ world, cast, random, principal, name, isService, writer });
  };
  return [
    of(ana, "ana"),
    of(ben, "ben"),
    of(ben, "ben2"),
    of(cleo, "cleo"),
    of(undefined, "anonymous"),
    of(`${cast.name}service`, "service"),
  ];
}

async function act(device: Device): Promise<void> {
  const { random, writer } = device.options;
  await device.rotate();
  for (let n = 0; n < ACTIONS; n++) {
    if (random.below(6) === 0) await device.rotate();
    const kind = random.below(12);
    if (kind < 4) await device.pull();
    else if (kind < 6) await device.list();
    else if (kind < 9) await push(device);
    else if (kind < 11) await receipts(device);
    else await anythingElse(device);
  }
  if (!writer.over.aborted) await once(writer.over, "abort");
  for (const last of [device.pull.bind(device), device.list.bind(device), push, receipts, receipts])
    await last(device);
}
