// The metrics for Prometheus: the port's counters, gauges read when somebody looks, and the process's own.
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { CounterName, Metrics } from "../model/metrics.ts";

export interface PrometheusMetrics extends Metrics {
  /**
   * Adds a gauge, read at each look; undefined: there is nothing to tell now.
   * @param overWorkers what the page of several workers shows of theirs; default: their sum.
   */
  watch(
    name: string,
    help: string,
    read: () => number | undefined,
    overWorkers?: "sum" | "max" | "min",
  ): void;
  /** What `/metrics` shows. */
  page(): Promise<string>;
  readonly contentType: string;
  /** In a worker: they are shown by the process that has started it. */
  lend(): void;
}

const PREFIX = "tidemark_";

const COUNTERS: Readonly<Record<CounterName, { readonly help: string; readonly labels: readonly string[] }>> =
  {
    denied_total: { help: "Callers and mutations refused for who they are.", labels: ["reason"] },
    limited_total: { help: "Calls refused by a limit.", labels: ["limit"] },
    limiter_fallbacks_total: {
      help: "Times Redis could not be asked, so that a node went by its own limits.",
      labels: [],
    },
  };

/** @param options.ofProcess adds node's own: memory, event loop, garbage collection; watching them costs a little. */
export function createPrometheusMetrics({ ofProcess }: { ofProcess: boolean }): PrometheusMetrics {
  const registry = new Registry();
  const registers = [registry];
  if (ofProcess) collectDefaultMetrics({ register: registry });
  const counters = new Map(
    Object.entries(COUNTERS).map(([name, { help, labels }]) => {
      const counter = new Counter({ name: `${PREFIX}${name}`, help, labelNames: [...labels], registers });
      return [name, { counter, labels }];
    }),
  );
  return {
    count(name, given = {}) {
      const { counter, labels = [] } = counters.get(name) ?? {};
      // A label left out or made up would make the counter throw.
      counter?.inc(Object.fromEntries(labels.map((label) => [label, given[label] ?? ""])));
    },
    watch(name, help, read, aggregator = "sum") {
      const gauge: Gauge = new Gauge({
        name: `${PREFIX}${name}`,
        help,
        registers,
        aggregator,
        collect() {
          const value = read();
          if (value === undefined) gauge.remove();
          else gauge.set(value);
        },
      });
    },
    page: () => registry.metrics(),
    contentType: registry.contentType,
    lend() {
      AggregatorRegistry.setRegistries(registry);
      // It answers the primary from now on.
      new AggregatorRegistry();
    },
  };
}

/** In the process that starts workers: the metrics of all of them. */
export function clusterMetrics(): Pick<PrometheusMetrics, "page" | "contentType"> {
  const workers = new AggregatorRegistry();
  return { page: () => workers.clusterMetrics(), contentType: workers.contentType };
}
