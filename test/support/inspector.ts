// Looks into a process of Node's from outside, by its inspector: what is left there after its garbage is collected.
import { waitFor } from "./wait-for.ts";

export interface Remains {
  readonly heapBytes: number;
  /** Of buffers, outside of the heap. */
  readonly bufferBytes: number;
  /** What keeps the process alive, by kind: sockets, timers … */
  readonly resources: Readonly<Record<string, number>>;
}

/** NODE_OPTIONS of a process that can be looked into. */
export function inspected(port: number): string {
  return `--inspect=127.0.0.1:${port} --inspect-publish-uid=http`;
}

const LOOK = `JSON.stringify({
  heapBytes: process.memoryUsage().heapUsed,
  bufferBytes: process.memoryUsage().arrayBuffers,
  resources: Object.fromEntries(
    Object.entries(Object.groupBy(process.getActiveResourcesInfo(), (kind) => kind)).map(([kind, all]) => [kind, all.length]),
  ),
})`;

interface Answer {
  readonly id?: number;
  readonly result?: { readonly result?: { readonly value?: string } };
}

export async function remains(port: number): Promise<Remains> {
  const targets = await waitFor(() => fetch(`http://127.0.0.1:${port}/json/list`).catch(() => undefined));
  const [target] = (await targets.json()) as { webSocketDebuggerUrl: string }[];
  const socket = new WebSocket(target?.webSocketDebuggerUrl ?? "");
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", () => reject(new Error("the process can't be looked into")));
  });
  try {
    // What the first finalizes, the second frees.
    await ask(socket, 1, "HeapProfiler.collectGarbage");
    await ask(socket, 2, "HeapProfiler.collectGarbage");
    const { result } = await ask(socket, 3, "Runtime.evaluate", { expression: LOOK });
    return JSON.parse(result?.result?.value ?? "") as Remains;
  } finally {
    socket.close();
  }
}

function ask(socket: WebSocket, id: number, method: string, params = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const onMessage = ({ data }: MessageEvent) => {
      const answer = JSON.parse(String(data)) as Answer;
      if (answer.id !== id) return;
      socket.removeEventListener("message", onMessage);
      resolve(answer);
    };
    socket.addEventListener("message", onMessage);
    socket.addEventListener("close", () => reject(new Error("the process ended while it was looked into")));
    socket.send(JSON.stringify({ id, method, params }));
  });
}
