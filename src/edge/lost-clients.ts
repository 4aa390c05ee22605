// Cuts HTTP/1.1 clients that are gone, or take nothing, while they are being answered. HTTP/1.1 has no PING, and a client
// that listens says nothing; so what counts is that it takes what it is sent. Bytes that its kernel doesn't acknowledge,
// ours tells of (Linux; elsewhere its own patience holds, 15 minutes by default): cut within two intervals of the first.
// One that is sent nothing is probed by the listener's keepalive, and gone 10 s after an interval. One that is there and
// reads nothing is cut once what Node holds for it has not moved for two intervals.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../model/clock.ts";
import type { Logger } from "../model/logger.ts";
import { connectionKey, readUnacknowledged, type Unacknowledged } from "./unacknowledged.ts";

export interface LostClientsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly intervalMs: number;
}

/** The kernel tries again at ever longer intervals: so the second look with more tries falls within two intervals. */
const LOOKS_PER_INTERVAL = 2;
const PATIENCE_INTERVALS = 2;

interface Answered {
  readonly socket: Socket;
  /** What its kernel had left unacknowledged at the last look. */
  before: Unacknowledged | undefined;
}

export class LostClients {
  readonly #options: LostClientsOptions;
  readonly #clients = new Map<ServerResponse, Answered>();
  #isRunning = false;
  /** Undefined: awake. */
  #sleep: AbortController | undefined;

  constructor(options: LostClientsOptions) {
    this.#options = options;
  }

  /** For as long as the response is under way. */
  watch({ socket }: IncomingMessage, response: ServerResponse): void {
    // Node looks itself whether a write goes on; of a socket with nothing to write, it tells when nothing comes either.
    response.setTimeout(this.#options.intervalMs * PATIENCE_INTERVALS, () => {
      if (socket.writableLength > 0) this.#cut(socket, "an HTTP/1.1 client takes nothing");
    });
    this.#clients.set(response, { socket, before: undefined });
    response.once("close", () => this.#forget(response));
    if (!this.#isRunning) void this.#run();
  }

  #forget(response: ServerResponse): void {
    this.#clients.delete(response);
    if (this.#clients.size === 0) this.#sleep?.abort();
  }

  async #run(): Promise<void> {
    const { clock, intervalMs } = this.#options;
    this.#isRunning = true;
    while (this.#clients.size > 0) {
      this.#sleep = new AbortController();
      await clock.sleep(intervalMs / LOOKS_PER_INTERVAL, this.#sleep.signal);
      this.#sleep = undefined;
      if (this.#clients.size > 0) this.#compare(await readUnacknowledged());
    }
    this.#isRunning = false;
  }

  #compare(unacknowledged: ReadonlyMap<string, Unacknowledged>): void {
    for (const [response, client] of this.#clients) {
      const { socket, before } = client;
      const now = unacknowledged.get(connectionKey(socket) ?? "");
      client.before = now;
      // Of a response that waited for the one before it, no end is told.
      if (socket.destroyed) this.#forget(response);
      else if (before && now && hasHeardNothing(before, now)) {
        this.#cut(socket, "an HTTP/1.1 client acknowledges nothing");
      }
    }
  }

  #cut(socket: Socket, why: string): void {
    this.#options.logger.debug({}, why);
    socket.destroy();
  }
}

/** Any answer between the two would have begun the tries anew. */
function hasHeardNothing(before: Unacknowledged, now: Unacknowledged): boolean {
  return before.tries > 0 && now.tries > before.tries && now.bytes >= before.bytes;
}
