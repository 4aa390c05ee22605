// grpc.health.v1: NOT_SERVING until the log is open and while the server drains. Needs no token.
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  type Health,
  type HealthCheckRequest,
  HealthCheckResponse_ServingStatus as Status,
} from "#gen/grpc/health/v1/health_pb.js";
import type { Serving, ServingState } from "./serving.ts";

/** @param names the services' full names; the empty name stands for the whole server. */
export function createHealth(
  serving: Serving,
  names: readonly string[],
): Partial<ServiceImpl<typeof Health>> {
  const isKnown = ({ service }: HealthCheckRequest) => service === "" || names.includes(service);
  return {
    check(request) {
      if (!isKnown(request)) throw new ConnectError(`no service ${request.service}`, Code.NotFound);
      return { status: statusOf(serving.state) };
    },
    list() {
      const status = statusOf(serving.state);
      return { statuses: Object.fromEntries(["", ...names].map((name) => [name, { status }])) };
    },
    async *watch(request, { signal }) {
      for await (const state of serving.follow(signal)) {
        yield { status: isKnown(request) ? statusOf(state) : Status.SERVICE_UNKNOWN };
      }
    },
  };
}

function statusOf(state: ServingState): Status {
  return state === "SERVING" ? Status.SERVING : Status.NOT_SERVING;
}
