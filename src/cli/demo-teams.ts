// The demo's people with what they share: two teams and their members, lists of persons and of teams, and todos on
// them. `ben` is in both teams and owns a todo in `harbour`: whoever takes him out of it sees what leaves his device,
// and what stays because it is his.
import { Int32 } from "mongodb";

/** Documents of the collection `memberships`. */
export function demoMemberships() {
  return [
    membership("harbour", "ana", "READ_WRITE"),
    membership("harbour", "ben", "READ_WRITE"),
    membership("harbour", "cleo", "READ"),
    membership("garden", "ben", "READ_WRITE"),
    membership("garden", "cleo", "READ_WRITE"),
  ];
}

/** Documents of the collection `lists`. */
export function demoLists() {
  return [
    { _id: "harbour-crossing", name: "The crossing", teamId: "harbour" },
    { _id: "harbour-boat", name: "The boat", teamId: "harbour" },
    { _id: "garden-beds", name: "The beds", teamId: "garden" },
    { _id: "ana-errands", name: "Errands", ownerId: "ana" },
    { _id: "ben-reading", name: "To read", ownerId: "ben" },
  ];
}

/** Documents of the collection `todos`, made at `now`. */
export function demoListTodos(now: Date) {
  const common = { done: false, tags: [], votes: new Int32(0), createdAt: now };
  const crossing = { ...common, listId: "harbour-crossing", teamId: "harbour" };
  const boat = { ...common, listId: "harbour-boat", teamId: "harbour" };
  const beds = { ...common, listId: "garden-beds", teamId: "garden" };
  return [
    { ...crossing, _id: "harbour-provisions", title: "Buy bread and water for two days", ownerId: "ana" },
    { ...crossing, _id: "harbour-charts", title: "Bring the charts", ownerId: "ben" },
    { ...boat, _id: "harbour-hull", title: "Scrub the hull", ownerId: "ana", votes: new Int32(3) },
    { ...beds, _id: "garden-beans", title: "Sow the beans", ownerId: "cleo", tags: ["spring"] },
    { ...beds, _id: "garden-water", title: "Water the beds", ownerId: "ben" },
    { ...common, _id: "ana-stamps", title: "Buy stamps", listId: "ana-errands", ownerId: "ana" },
    { ...common, _id: "ben-novel", title: "Finish the novel", listId: "ben-reading", ownerId: "ben" },
  ];
}

function membership(teamId: string, userId: string, access: "READ" | "READ_WRITE") {
  return { _id: `${teamId}-${userId}`, userId, teamId, access };
}
