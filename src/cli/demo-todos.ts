// The todos `ana` finds when she looks for the first time: few, and together showing every kind of field.
import { Double, Int32 } from "mongodb";

const DAY_MS = 86_400_000;
const OWNER = "ana";

/** Documents of the collection `todos`, all of `ana`'s, made at `now`. */
export function demoTodos(now: Date) {
  const inDays = (days: number) => new Date(now.getTime() + days * DAY_MS);
  const common = { done: false, votes: new Int32(0), ownerId: OWNER, createdAt: now };
  return [
    {
      ...common,
      _id: "ana-tide-table",
      title: "Read the tide table before the walk",
      notes: "Low water is the time for the sandbank.",
      priority: "HIGH",
      due: inDays(1),
      tags: ["outdoors", "sea"],
      place: { name: "Praia da Adraga", lat: new Double(38.8026), lng: new Double(-9.4853) },
    },
    {
      ...common,
      _id: "ana-library-books",
      title: "Take the library books back",
      priority: "NORMAL",
      due: inDays(7),
      tags: ["town"],
      votes: new Int32(2),
    },
    { ...common, _id: "ana-bicycle", title: "Mend the bicycle", priority: "LOW", tags: ["home", "outdoors"] },
    { ...common, _id: "ana-tidemark", title: "Start Tidemark", tags: [], done: true },
  ];
}
