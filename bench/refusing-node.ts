// The reference of the refused push: grpc-js, which decodes the same message by the same code and refuses it with a status
// and details as long as the product's, whoever calls.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Metadata, Server, ServerCredentials, status } from "@grpc/grpc-js";
import { BadRequestSchema } from "#gen/google/rpc/error_details_pb.js";
import {
  type PushMutationsRequest,
  PushMutationsRequestSchema,
  type PushMutationsResponse,
  PushMutationsResponseSchema,
} from "#gen/tidemark/v1/push_mutations_pb.js";

export interface ToParent {
  readonly port: number;
}

const violation = {
  field: "mutations[0].mutation_id",
  description: "value must be a valid UUID",
  reason: "string.uuid",
};
const server = new Server();
server.addService(
  {
    pushMutations: {
      path: "/tidemark.v1.SyncService/PushMutations",
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes: Buffer): PushMutationsRequest =>
        fromBinary(PushMutationsRequestSchema, bytes),
      requestSerialize: (request: PushMutationsRequest) =>
        Buffer.from(toBinary(PushMutationsRequestSchema, request)),
      responseSerialize: (response: PushMutationsResponse) =>
        Buffer.from(toBinary(PushMutationsResponseSchema, response)),
      responseDeserialize: (bytes: Buffer): PushMutationsResponse =>
        fromBinary(PushMutationsResponseSchema, bytes),
    },
  },
  {
    pushMutations(
      _call: { readonly request: PushMutationsRequest },
      answer: (error: { code: number; details: string; metadata: Metadata }) => void,
    ) {
      const metadata = new Metadata();
      const details = toBinary(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [violation] }));
      metadata.set("grpc-status-details-bin", Buffer.from(details));
      metadata.set("tidemark-reason", "INVALID_REQUEST");
      answer({
        code: status.INVALID_ARGUMENT,
        details: `${violation.field}: ${violation.description}`,
        metadata,
      });
    },
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.({ port } satisfies ToParent);
});
process.on("disconnect", () => process.exit(0));
