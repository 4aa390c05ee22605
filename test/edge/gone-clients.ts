// Clients that are gone without a word, as processes of their own: frozen, so that their kernel still acknowledges what
// they are sent, or deaf: their kernel drops all that comes, as if the network were cut.
import { type ChildProcess, spawn } from "node:child_process";
import { onTestFinished } from "vitest";

export interface OwnProcess {
  /** Its last bytes were read before; from now on it neither reads nor writes. */
  freeze(): void;
  /** From now on no packet reaches it; needs no privilege. Resolves once that holds. */
  deafen(): Promise<void>;
}

/**
 * Connects, sends, and reads for as long as it is let. Python, since Node attaches no packet filters.
 * Its first argument is the port, its second what it says, in hex, its third how it reads.
 */
const CLIENT = `
import ctypes, socket, struct, sys, threading
port, said, pace = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), sys.argv[3]
connection = raw = socket.create_connection(("127.0.0.1", port))
connection.sendall(said)
def tell(word):
    sys.stdout.write(word + "\\n")
    sys.stdout.flush()
def read():
    has_heard = False
    while chunk := connection.recv(65536 if pace != "slowly" else 4096):
        if not has_heard: tell("heard")
        has_heard = True
        if pace == "once": return
        if pace == "slowly": threading.Event().wait(0.002)
    tell("ended")
threading.Thread(target=read, daemon=True).start()
class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]
RETURN, SO_ATTACH_FILTER = 6, 26
drop_all = (Instruction * 1)(Instruction(RETURN, 0, 0, 0))
for line in sys.stdin:
    raw.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(drop_all)))
    tell("deaf")
`;

/** \`once\`: the first bytes alone. Resolves when something was heard. */
export async function spawnClient(
  port: number,
  said: Buffer,
  pace: "all" | "once" | "slowly",
): Promise<OwnProcess> {
  const client = spawn("python3", ["-c", CLIENT, String(port), said.toString("hex"), pace], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void client.kill("SIGKILL"));
  await told(client, "heard");
  return {
    freeze: () => void client.kill("SIGSTOP"),
    async deafen() {
      const deaf = told(client, "deaf");
      client.stdin.write("\n");
      await deaf;
    },
  };
}

function told({ stdout }: ChildProcess, word: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stdout?.on("data", (chunk: Buffer) => {
      if (chunk.toString().includes(word)) resolve();
    });
    stdout?.once("end", () => reject(new Error(`the client ended before it was ${word}`)));
  });
}
