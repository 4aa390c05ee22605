// A port for the embedded database: the one it had, as long as nobody else has taken it; else one outside the range
// from which systems give ports to outgoing connections, so that it stays free while the server is down.
import { createServer } from "node:net";

const FIRST = 27_100;
const LAST = 29_999;
const TRIES_MAX = 20;

/** @throws Error when twenty ports in a row are taken. */
export async function choosePort(preferred: number | undefined): Promise<number> {
  if (preferred !== undefined && (await isFree(preferred))) return preferred;
  for (let attempt = 1; attempt <= TRIES_MAX; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    if (port !== preferred && (await isFree(port))) return port;
  }
  throw new Error(`no free port found between ${FIRST} and ${LAST} on 127.0.0.1`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
