// A program of its own, because the memory server's download can't be cancelled: memory-server.ts runs it and kills it
// when no bytes arrive. Prints the download's progress, then `path <mongod>` as its last line.
import { MongoBinary } from "mongodb-memory-server";

try {
  process.stdout.write(`path ${await MongoBinary.getPath()}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
