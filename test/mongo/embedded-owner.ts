// A program for embedded.test.ts to kill: starts the embedded database in the folder given and tells its uri and pid.
import { startEmbedded } from "../../src/mongo/embedded/start-embedded.ts";

const [, , dataFolder = ""] = process.argv;
const { uri, pid } = await startEmbedded({
  dataFolder,
  mongodPath: process.env.TIDEMARK_MONGOD,
  progress: (line) => process.stderr.write(`${line}\n`),
});
process.stdout.write(`${JSON.stringify({ uri, pid })}\n`);
