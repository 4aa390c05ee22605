// Creates and edits of papers by ana, who holds `user:ana` and what her token claims: those written, and those refused.
import type { JsonObject } from "../../src/model/record-form.ts";

export const RED = { teams: ["red"] };
const BOTH = { teams: ["red", "blue"] };

export const NOWHERE = "the record is in no scope the caller may write";
export const HOMELESS =
  "the record would be in no scope the caller may write: see owner_id, team_id, reader_ids, desk, seats";
export const ENTERS = (fields: string) =>
  `the record would enter a scope the caller may not write: see ${fields}`;
export const LEAVES = (fields: string) =>
  `the record would leave a scope the caller may not write: see ${fields}`;

interface Case {
  readonly what: string;
  readonly claims?: Record<string, unknown>;
  /** Undefined: it is created. */
  readonly before?: JsonObject;
  readonly after: JsonObject;
  /** Of the update; absent: blind. */
  readonly base?: JsonObject;
  /** Why it is refused; absent: it is written. */
  readonly refused?: string;
}

export const cases: readonly Case[] = [
  { what: "a create in one's own scope", after: { owner_id: "ana" } },
  { what: "a create in another's scope", after: { owner_id: "bob" }, refused: HOMELESS },
  { what: "a create in none but everyone's", after: { title: "x" }, refused: HOMELESS },
  {
    what: "a create in one's own and a team's scope",
    claims: RED,
    after: { owner_id: "ana", team_id: "red" },
  },
  {
    what: "a create in one's own and a strange team's scope",
    claims: RED,
    after: { owner_id: "ana", team_id: "blue" },
    refused: ENTERS("team_id"),
  },
  {
    what: "a create in a team's scope held to read only",
    claims: { guest_of: "red" },
    after: { owner_id: "ana", team_id: "red" },
    refused: ENTERS("team_id"),
  },
  {
    what: "a create in a team's scope for another",
    claims: RED,
    after: { owner_id: "bob", team_id: "red" },
    refused: ENTERS("owner_id"),
  },
  { what: "a create shared with others by a list", after: { owner_id: "ana", reader_ids: ["bob", "cy"] } },
  { what: "a create seen only by a list one is in", after: { reader_ids: ["ana", "bob"] } },
  {
    what: "a create at one's desk and seat",
    claims: { desk: "d1", seat: "s1" },
    after: { desk: "d1", seats: ["s1"] },
  },
  {
    what: "a create at others' seats too",
    claims: { desk: "d1", seat: "s1" },
    after: { desk: "d1", seats: ["s1", "s2"] },
    refused: ENTERS("desk, seats"),
  },
  { what: "an edit of one's own", before: { ownerId: "ana" }, after: { title: "x" } },
  {
    what: "an edit of a team's",
    claims: RED,
    before: { ownerId: "bob", teamId: "red" },
    after: { title: "x" },
  },
  {
    what: "an edit of what one may only read",
    claims: { guest_of: "red" },
    before: { ownerId: "bob", teamId: "red" },
    after: { title: "x" },
    refused: NOWHERE,
  },
  { what: "an edit of everyone's", before: { ownerId: "bob" }, after: { title: "x" }, refused: NOWHERE },
  { what: "into a team of one's own", claims: RED, before: { ownerId: "ana" }, after: { team_id: "red" } },
  {
    what: "into a strange team",
    before: { ownerId: "ana" },
    after: { team_id: "red" },
    refused: ENTERS("team_id"),
  },
  {
    what: "from one team of one's own into the other",
    claims: BOTH,
    before: { teamId: "red" },
    after: { team_id: "blue" },
  },
  {
    what: "from a strange team into one of one's own",
    claims: RED,
    before: { ownerId: "ana", teamId: "blue" },
    after: { team_id: "red" },
    refused: LEAVES("team_id"),
  },
  {
    what: "out of a strange team",
    before: { ownerId: "ana", teamId: "blue" },
    after: { team_id: "" },
    refused: LEAVES("team_id"),
  },
  {
    what: "out of a team of one's own",
    claims: RED,
    before: { ownerId: "ana", teamId: "red" },
    after: { team_id: "" },
  },
  { what: "out of every scope", before: { ownerId: "ana" }, after: { owner_id: "" }, refused: HOMELESS },
  {
    what: "one's own to another",
    claims: RED,
    before: { ownerId: "ana", teamId: "red" },
    after: { owner_id: "bob" },
    refused: ENTERS("owner_id"),
  },
  {
    what: "another's to oneself",
    claims: RED,
    before: { ownerId: "bob", teamId: "red" },
    after: { owner_id: "ana" },
    refused: LEAVES("owner_id"),
  },
  {
    what: "one's own to a reader who sees it already",
    before: { ownerId: "ana", readerIds: ["bob"] },
    after: { owner_id: "bob", reader_ids: ["ana"] },
    refused: ENTERS("owner_id"),
  },
  { what: "readers added", before: { ownerId: "ana" }, after: { reader_ids: ["bob"] } },
  {
    what: "readers taken away",
    before: { ownerId: "ana", readerIds: ["bob", "cy"] },
    after: { reader_ids: ["cy"] },
  },
  {
    what: "oneself taken from the readers of another's",
    before: { ownerId: "bob", readerIds: ["ana", "cy"] },
    after: { reader_ids: ["cy"] },
    refused: HOMELESS,
  },
  {
    what: "a seat added at one's desk",
    claims: { desk: "d1", seat: "s1" },
    before: { desk: "d1", seats: ["s1"] },
    after: { seats: ["s1", "s2"] },
  },
  {
    what: "seats kept, taken to another desk",
    claims: { desk: ["d1"], seat: "s1" },
    before: { ownerId: "ana", desk: "d1", seats: ["s1"] },
    after: { desk: "d2" },
    refused: ENTERS("desk, seats"),
  },
  {
    what: "seats given to a desk that had none",
    before: { ownerId: "ana", desk: "d2" },
    after: { seats: ["s1"] },
    refused: ENTERS("desk, seats"),
  },
  {
    what: "a merge whose result keeps the server's strange team",
    before: { ownerId: "ana", teamId: "blue", title: "theirs" },
    base: { title: "old" },
    after: { title: "mine" },
  },
  {
    what: "a merge in which the edit's strange team is the last writer's",
    claims: RED,
    before: { ownerId: "ana", teamId: "red" },
    base: { team_id: "" },
    after: { team_id: "blue" },
    refused: ENTERS("team_id"),
  },
  {
    what: "a hidden field's scope stays as it is",
    before: { ownerId: "ana", vault: "v" },
    after: { title: "x" },
  },
  {
    what: "another's name that looks like one's own scope",
    before: { ownerId: "x:ana" },
    after: { title: "x" },
    refused: NOWHERE,
  },
];
