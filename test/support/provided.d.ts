// What the global setup provides to every test file by vitest's `inject`.
import "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** The connection string of the run's replica set. */
    mongodbUri: string;
  }
}
