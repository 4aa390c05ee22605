// Two servers on one replica set, each killed at random points and started again: after so many answers, often a few
// milliseconds after one more push was sent to it. Devices and pullers ask here for one that is up.
import { setTimeout as delay } from "node:timers/promises";
import type { TestDatabase } from "../support/mongo.ts";
import { type Random, randomOf } from "../support/random.ts";
import { type ServerProcess, spawnServer, syncClient } from "../support/server.ts";
import { waitFor } from "../support/wait-for.ts";

const ANSWERS_MAX = 24;
const AIM_MS_MAX = 12;

/** One life of a server. */
export class Life {
  readonly sync: ReturnType<typeof syncClient>;
  readonly server: ServerProcess;
  /** Which server, and which of its lives. */
  readonly name: string;
  isKilled = false;
  sent = 0;
  answered = 0;

  constructor(server: ServerProcess, name: string) {
    this.server = server;
    this.name = name;
    this.sync = syncClient(server.url);
  }

  async kill(): Promise<void> {
    this.isKilled = true;
    await this.server.kill();
  }
}

export interface ServersOptions {
  readonly database: TestDatabase;
  readonly schemaFile: string;
  readonly seed: string;
  readonly kills: number;
}

export class Servers {
  kills = 0;
  /** Of those, the ones aimed at a push on its way. */
  aimed = 0;
  readonly #options: ServersOptions;
  readonly #up: (Life | undefined)[] = [undefined, undefined];
  #killing: Promise<unknown> = Promise.resolve();
  #isEnding = false;
  #lives = 0;

  constructor(options: ServersOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    for (const place of this.#up.keys()) await this.#startAt(place);
  }

  /** Kills as often as asked; at the end all are up. */
  async killAll(): Promise<void> {
    const { seed } = this.#options;
    const places = [...this.#up.keys()];
    this.#killing = Promise.all(
      places.map((place) => this.#killAt(place, randomOf(seed, `killer ${place}`))),
    );
    await this.#killing;
  }

  up(): Life[] {
    return this.#up.filter((life) => life !== undefined);
  }

  async pick(random: Random): Promise<Life> {
    await waitFor(() => this.up().length > 0, { what: "a server that is up" });
    return random.of(this.up());
  }

  /** SIGTERM: the exit codes. */
  async stop(): Promise<(number | null)[]> {
    return await Promise.all(this.up().map(({ server }) => server.stop()));
  }

  /** SIGKILL, for when a test has failed. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#killing.catch(() => {});
    await Promise.all(this.up().map((life) => life.kill()));
  }

  async #killAt(place: number, random: Random): Promise<void> {
    while (this.kills < this.#options.kills && !this.#isEnding) {
      const life = this.#up[place];
      if (life === undefined) throw new Error("killed servers are started again");
      this.kills++;
      const isAimed = random.below(3) === 0;
      const answers = 1 + random.below(ANSWERS_MAX);
      await waitFor(() => this.#isEnding || life.answered >= answers, { what: "pushes that are answered" });
      const { sent } = life;
      if (isAimed)
        await waitFor(() => this.#isEnding || life.sent > sent, { what: "a push to be killed in" });
      // Not to wait for something: the point at which it dies.
      if (isAimed) await delay(random.below(AIM_MS_MAX));
      if (isAimed) this.aimed++;
      this.#up[place] = undefined;
      await life.kill();
      await this.#startAt(place);
    }
  }

  async #startAt(place: number): Promise<void> {
    const { database, schemaFile } = this.#options;
    const server = await spawnServer(database, { LEASE_SECONDS: "1", TIDEMARK_SCHEMA: schemaFile });
    if (!(await server.ready())) throw new Error("a server ended by itself");
    this.#up[place] = new Life(server, `${place}.${++this.#lives}`);
  }
}
