// Lays the .proto files the build compiles against but the repository does not own into .cache/proto:
// protovalidate's (printed from the installed package's descriptor), health, reflection, error details.
// Runs at `npm install` in a checkout and before packing; needs no network.
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { file_buf_validate_validate } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { printProto } from "../src/generate/print-proto.ts";

const root = join(import.meta.dirname, "..");
const cache = join(root, ".cache/proto");
const resolve = createRequire(import.meta.url).resolve;

const copies: ReadonlyArray<readonly [from: string, to: string]> = [
  ["grpc-health-check/proto/health/v1/health.proto", "grpc/health/v1/health.proto"],
  ["@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto", "grpc/reflection/v1/reflection.proto"],
  [
    "@grpc/reflection/build/proto/grpc/reflection/v1alpha/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto",
  ],
  ["google-proto-files/google/rpc/error_details.proto", "google/rpc/error_details.proto"],
];

function place(to: string, write: (path: string) => void): void {
  const path = join(cache, to);
  mkdirSync(dirname(path), { recursive: true });
  write(path);
}

for (const [from, to] of copies) place(to, (path) => copyFileSync(resolve(from), path));
place("buf/validate/validate.proto", (path) =>
  writeFileSync(path, printProto(file_buf_validate_validate.proto)),
);
