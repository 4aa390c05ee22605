// A client's socket with a recorder in it: every byte the server sends on the connection is kept, also what comes after
// the client has lost interest. HTTP clients use it as they would the socket.
import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";

export class Tap extends Duplex {
  readonly received: Buffer[] = [];
  /** Resolves when the server can send no more. */
  readonly ended: Promise<void>;
  readonly #socket: Socket;

  constructor(url: string) {
    super({ allowHalfOpen: false });
    const { hostname, port } = new URL(url);
    this.#socket = connect(Number(port), hostname);
    this.#socket.on("data", (bytes: Buffer) => {
      this.received.push(bytes);
      if (!this.destroyed && !this.push(bytes)) this.#socket.pause();
    });
    this.#socket.once("end", () => {
      if (!this.destroyed) this.push(null);
    });
    this.#socket.once("error", () => {});
    this.ended = new Promise((resolve) => {
      this.#socket.once("close", () => {
        if (!this.destroyed) this.destroy();
        resolve();
      });
    });
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(bytes, () => done());
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  /** The client is gone; what is under way to it is still read. */
  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.end();
    this.#socket.resume();
    done(null);
  }
}
