// TLS handshakes under way, and which connection an event of Node's TLS server is about: it doesn't say around which
// socket a TLS socket lies, nor, once that is closed, whose it was. Events are told apart by what caused them.
import { AsyncLocalStorage } from "node:async_hooks";
import type { Socket } from "node:net";

export interface Handshakes {
  /** Calls `shake`; events it causes, at once or later, are this connection's. */
  begin(socket: Socket, shake: () => void): void;
  /** The handshake of the event being handled is done. */
  done(): void;
  /** Of the event being handled; empty: not known. */
  address(): string;
  /** Closes the connections still in their handshake. */
  cut(): void;
}

/** Without its socket: whatever a call starts and outlives it, such as a database connection, keeps it in its context. */
interface Handshake {
  readonly address: string;
}

export function createHandshakes(): Handshakes {
  const underWay = new Map<Handshake, Socket>();
  const current = new AsyncLocalStorage<Handshake>();
  const done = (handshake: Handshake | undefined) => {
    if (handshake) underWay.delete(handshake);
  };
  return {
    begin(socket, shake) {
      const handshake = { address: socket.remoteAddress ?? "" };
      underWay.set(handshake, socket);
      socket.once("close", () => {
        done(handshake);
        // The TLS socket's end follows from this one's.
        current.enterWith(handshake);
      });
      current.run(handshake, shake);
    },
    done: () => done(current.getStore()),
    address: () => current.getStore()?.address ?? "",
    cut() {
      for (const socket of underWay.values()) socket.destroy();
    },
  };
}
