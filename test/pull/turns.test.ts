// Turns: so many reads at once, those of who has begun first.
import { expect, it } from "vitest";
import { Turns } from "../../src/pull/turns.ts";

function works() {
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  const work = (name: string) => () =>
    new Promise<void>((resolve) => {
      started.push(name);
      ends.set(name, resolve);
    });
  const end = async (name: string) => {
    ends.get(name)?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { started, work, end };
}

it("turns: more reads than may go on → the others wait; who has begun comes first", async () => {
  const turns = new Turns(2);
  const { started, work, end } = works();
  for (const name of ["a", "b", "new 1", "new 2"]) void turns.run(false, work(name));
  void turns.run(true, work("begun"));
  await new Promise((resolve) => setImmediate(resolve));
  expect(started).toEqual(["a", "b"]);
  await end("a");
  await end("begun");
  await end("b");
  expect(started).toEqual(["a", "b", "begun", "new 1", "new 2"]);
});

it("turns: a read fails → its turn is over, and its caller is told", async () => {
  const turns = new Turns(1);
  await expect(turns.run(false, () => Promise.reject(new Error("lost")))).rejects.toThrow("lost");
  expect(await turns.run(false, async () => "read")).toBe("read");
});
