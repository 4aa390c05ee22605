// A node's document in `nodes`, written by one loop, so that writes never overtake one another: the ids of the sessions
// it runs transactions in, each from before its first use until nothing of it can be open, and a beat. While
// transactions are run it beats every second; an idle node doesn't write. Failed writes are tried again a second later.
import { randomUUID } from "node:crypto";
import type { ClientSession, Collection, Db, MongoClient, ServerSessionId } from "mongodb";
import type { Clock } from "../model/clock.ts";
import { invariant } from "../model/invariant.ts";
import { endInSessions, type NodeDocument, nodesOf } from "./nodes.ts";

export interface RegistrationOptions {
  readonly client: MongoClient;
  /** Tidemark's own. */
  readonly db: Db;
  readonly clock: Clock;
  /** For operators; two nodes of one name do no harm. */
  readonly nodeId: string;
}

/** Well below what nodes take for dead, so that a lost beat or two does no harm. */
const BEAT_MS = 1_000;

export class NodeRegistration {
  readonly id: string;
  readonly #client: MongoClient;
  readonly #clock: Clock;
  readonly #nodes: Collection<NodeDocument>;
  readonly #registered = new Set<ClientSession>();
  /** With what tells that they are registered. */
  readonly #fresh = new Map<ClientSession, () => void>();
  /** Not to be used again, but work may be going on. */
  readonly #leaving = new Set<ClientSession>();
  /** Left, to be ended on the server; with what tells that they are. */
  readonly #left = new Map<ClientSession, () => void>();
  readonly #closing = new AbortController();
  #inUse = 0;
  #used = false;
  #hurry = new AbortController();
  #wake = () => {};
  #running: Promise<void> = Promise.resolve();

  private constructor({ client, db, clock, nodeId }: RegistrationOptions) {
    this.id = `${nodeId}/${randomUUID()}`;
    this.#client = client;
    this.#clock = clock;
    this.#nodes = nodesOf(db);
  }

  /** Registers these sessions. @throws what the database throws. */
  static async open(
    options: RegistrationOptions,
    sessions: readonly ClientSession[],
  ): Promise<NodeRegistration> {
    const registration = new NodeRegistration(options);
    for (const session of sessions) registration.#fresh.set(session, () => {});
    await registration.#start();
    return registration;
  }

  /** Resolves once the session is registered: no earlier may it be used. Never settles if that is closed before. */
  add(session: ClientSession): Promise<void> {
    return new Promise((resolve) => {
      this.#fresh.set(session, resolve);
      this.#hurryUp();
    });
  }

  /** Once `over` settles, ends on the server what the session has left, then forgets and ends it; resolves then. */
  remove(session: ClientSession, over: Promise<unknown>): Promise<void> {
    this.#registered.delete(session);
    this.#leaving.add(session);
    return new Promise((resolve) => {
      const onOver = () => {
        this.#leaving.delete(session);
        this.#left.set(session, resolve);
        this.#hurryUp();
      };
      over.then(onOver, onOver);
    });
  }

  /** A transaction begins: from now until it has ended the beat moves. */
  begin(): void {
    this.#inUse += 1;
    this.#used = true;
    this.#wake();
  }

  end(): void {
    this.#inUse -= 1;
  }

  /** Takes the registration back; what abandoned work has left is ended. Never throws. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#hurryUp();
    await this.#running;
    const doubtful = [...this.#leaving, ...this.#left.keys()];
    try {
      await endInSessions(this.#client, doubtful.map(idOf));
      await this.#nodes.deleteOne({ _id: this.id });
    } catch {
      // Other nodes do both, in time.
    }
    for (const session of [...this.#registered, ...this.#fresh.keys(), ...doubtful]) {
      await session.endSession().catch(() => {});
    }
  }

  async #start(): Promise<void> {
    await this.#nodes.createIndex({ at: 1 });
    await this.#write();
    this.#running = this.#keepWriting();
  }

  async #keepWriting(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      if (this.#isDue()) await this.#writeAndPause();
      else await this.#untilWoken();
    }
  }

  #isDue(): boolean {
    return this.#used || this.#inUse > 0 || this.#fresh.size > 0 || this.#left.size > 0;
  }

  #untilWoken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #writeAndPause(): Promise<void> {
    this.#used = false;
    this.#hurry = new AbortController();
    try {
      await this.#write();
      await this.#clock.sleep(BEAT_MS, this.#hurry.signal);
    } catch {
      // What a database that is away can't be told now.
      await this.#clock.sleep(BEAT_MS, this.#closing.signal);
    }
  }

  #hurryUp(): void {
    this.#hurry.abort();
    this.#wake();
  }

  async #write(): Promise<void> {
    const left = [...this.#left];
    const fresh = [...this.#fresh];
    await endInSessions(
      this.#client,
      left.map(([session]) => idOf(session)),
    );
    const staying = [...this.#registered, ...this.#leaving, ...this.#fresh.keys()];
    await this.#nodes.updateOne(
      { _id: this.id },
      { $set: { sessions: staying.map(idOf) }, $inc: { beat: 1 }, $currentDate: { at: true } },
      { upsert: true },
    );
    for (const [session, resolve] of fresh) {
      this.#fresh.delete(session);
      this.#registered.add(session);
      resolve();
    }
    for (const [session, resolve] of left) {
      this.#left.delete(session);
      // Only now may the driver use its id for something else.
      await session.endSession().catch(() => {});
      resolve();
    }
  }
}

function idOf(session: ClientSession): ServerSessionId {
  invariant(session.id, "an explicit session has an id at once");
  return session.id;
}
