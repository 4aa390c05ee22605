// The program beside Tidemark: writes records, moves them between people and teams, gives teams to people and takes
// them away, alone and in transactions; now and then it waits until the log has taken what it wrote.
import type { ClientSession, Document } from "mongodb";
import { commitClockOf } from "../../src/model/commit-clock.ts";
import type { Random } from "../support/random.ts";
import { makeCanary } from "./canaries.ts";
import type { Cast, Place } from "./cast.ts";
import type { World } from "./world.ts";

const LARGE_BYTES = 3.2 * 2 ** 20;
const LARGE_WORDS = 256;

interface Named {
  _id: string;
}

export class Writer {
  /** Writes done, and their times. */
  readonly clocks: bigint[] = [];
  readonly #world: World;
  readonly #cast: Cast;
  readonly #random: Random;
  readonly #end = new AbortController();
  #ticks = 0;

  constructor(world: World, cast: Cast, random: Random) {
    this.#world = world;
    this.#cast = cast;
    this.#random = random;
  }

  /** Aborted when it writes no more, and the log has all it wrote. */
  get over(): AbortSignal {
    return this.#end.signal;
  }

  /** Some records and memberships to begin with. @param isLarge one of them is sent in parts, and too large for JSON. */
  async begin(isLarge: boolean): Promise<void> {
    const [ana, ben] = this.#cast.users;
    const [red] = this.#cast.teams;
    await this.#write(async (session) => {
      for (const [row, userId] of [ana, ben].entries()) {
        await this.#grant(session, { userId, teamId: red, right: "READ_WRITE" }, this.#cast.rows[row]);
      }
      for (const place of ["notes", "papers"] as const) {
        for (const _id of this.#cast.ids[place].slice(1)) await this.#make(place, _id, session);
      }
    });
    if (isLarge) {
      const large = { body: this.#largeBody(), ownerId: ana, teamId: red };
      await this.#write(this.#set("notes", this.#cast.ids.notes[1] ?? "", large));
    }
    await this.settle();
  }

  async run(writes: number): Promise<void> {
    for (let n = 0; n < writes; n++) {
      await this.#write(this.#random.below(5) === 0 ? this.#several() : this.#one());
      if (this.#random.below(3) === 0) await this.settle();
    }
    if (writes > 0) await this.#turnOver();
    await this.settle();
    this.#end.abort();
  }

  /** Waits until all it wrote is in the log, by writing once more where the log's reader looks. */
  async settle(): Promise<void> {
    const clock = await this.#write(async (session) => {
      const title = makeCanary(this.#random);
      const $set = { title, secret: makeCanary(this.#random), tick: this.#ticks++ };
      await this.#in("boards").updateOne({ _id: this.#cast.board }, { $set }, { upsert: true, session });
    });
    await this.#world.reach(clock);
  }

  /** Takes everything away again, so that later histories have less to read. */
  async sweep(): Promise<void> {
    const { ids, rows, board } = this.#cast;
    const all = { notes: ids.notes, papers: ids.papers, members: rows, boards: [board] };
    for (const [name, some] of Object.entries(all)) {
      await this.#in(name).deleteMany({ _id: { $in: [...some] } });
    }
  }

  /** Gives most records to others, and takes a team away: what was told before must now be kept back. */
  async #turnOver(): Promise<void> {
    for (const place of ["notes", "papers"] as const) {
      for (const _id of this.#cast.ids[place])
        await this.#write(this.#set(place, _id, this.#audience(place)));
    }
    await this.#write(this.#revoke(this.#random.of(this.#cast.rows)));
    await this.#write(this.#set("notes", this.#random.of(this.#cast.ids.notes), this.#values("notes")));
  }

  #in(collection: string) {
    return this.#world.source.collection<Named & Document>(collection, { writeConcern: { w: "majority" } });
  }

  async #write(work: (session: ClientSession) => Promise<void>): Promise<bigint> {
    const session = this.#world.client.startSession();
    try {
      await work(session);
      const { operationTime } = session;
      if (operationTime === undefined) throw new Error("a write has a time");
      const clock = commitClockOf(operationTime);
      this.#world.book.wrote(clock);
      this.clocks.push(clock);
      return clock;
    } finally {
      await session.endSession();
    }
  }

  #several() {
    const first = this.#one();
    const second = this.#one();
    return async (session: ClientSession) => {
      await session.withTransaction(
        async () => {
          await first(session);
          await second(session);
        },
        { writeConcern: { w: "majority" } },
      );
    };
  }

  #one(): (session: ClientSession) => Promise<void> {
    const random = this.#random;
    const place = random.of(["notes", "notes", "papers"] as const);
    const _id = random.of(this.#cast.ids[place]);
    switch (random.below(9)) {
      case 0:
      case 1:
        return (session) => this.#make(place, _id, session);
      case 2:
      case 3:
        return this.#set(place, _id, this.#values(place));
      case 4:
      case 5:
        return this.#set(place, _id, this.#audience(place));
      case 6:
        return async (session) => void (await this.#in(place).deleteOne({ _id }, { session }));
      case 7: {
        const grant = this.#randomGrant();
        return (session) => this.#grant(session, grant);
      }
      default: {
        const revoke = this.#revoke(random.of(this.#cast.rows));
        const edit = this.#set(place, _id, this.#values(place));
        return async (session) => {
          await revoke(session);
          await edit(session);
        };
      }
    }
  }

  #set(place: Place, _id: string, $set: Document) {
    return async (session: ClientSession) =>
      void (await this.#in(place).updateOne({ _id }, { $set }, { session }));
  }

  async #make(place: Place, _id: string, session: ClientSession): Promise<void> {
    const document = { ...this.#values(place), ...this.#audience(place) };
    await this.#in(place).replaceOne({ _id }, document, { upsert: true, session });
  }

  #values(place: Place): Document {
    const word = () => makeCanary(this.#random);
    const common = { title: word(), body: word(), secret: word() };
    if (place === "papers") return common;
    const steps = [{ text: word(), token: word() }];
    return { ...common, status: word(), place: { name: word(), code: word() }, steps };
  }

  #largeBody(): string {
    const filled = () => makeCanary(this.#random).padEnd(LARGE_BYTES / LARGE_WORDS, " ");
    return Array.from({ length: LARGE_WORDS }, filled).join("");
  }

  #audience(place: Place): Document {
    const { users, teams } = this.#cast;
    const random = this.#random;
    const ownerId = random.of(["", ...users]);
    const teamId = random.of(["", ...teams, ...teams]);
    if (place === "papers") return { ownerId, teamId };
    const watcherIds = users.filter(() => random.below(4) === 0);
    return { ownerId, teamId, watcherIds, opening: random.below(8) === 0 ? "all" : "" };
  }

  #randomGrant(): Document {
    const right = this.#random.of(["READ", "READ_WRITE"]);
    return { userId: this.#random.of(this.#cast.users), teamId: this.#random.of(this.#cast.teams), right };
  }

  async #grant(
    session: ClientSession,
    grant: Document,
    _id = this.#random.of(this.#cast.rows),
  ): Promise<void> {
    const document = { ...grant, title: makeCanary(this.#random), secret: makeCanary(this.#random) };
    await this.#in("members").replaceOne({ _id }, document, { upsert: true, session });
  }

  #revoke(_id: string) {
    const isDelete = this.#random.below(2) === 0;
    return async (session: ClientSession) => {
      const options = { session };
      if (isDelete) await this.#in("members").deleteOne({ _id }, options);
      else await this.#in("members").updateOne({ _id }, { $unset: { right: 1 } }, options);
    };
  }
}
