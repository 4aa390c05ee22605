// The metrics page: what is counted is shown under its name, whatever is asked of it, and nothing is served beside it.
import { expect, onTestFinished, test } from "vitest";
import { createPrometheusMetrics } from "../../src/edge/metrics.ts";
import { openMetricsPage } from "../../src/edge/metrics-page.ts";
import { choosePort } from "../../src/mongo/embedded/port.ts";
import { keptLog } from "../support/log-lines.ts";

async function page(metrics: Parameters<typeof openMetricsPage>[0]["metrics"]) {
  const port = await choosePort(undefined);
  const log = keptLog();
  const opened = await openMetricsPage({ port, host: "127.0.0.1", metrics, logger: log.logger });
  onTestFinished(() => opened.close());
  return { url: `http://127.0.0.1:${port}`, log };
}

test("metrics: counters and gauges → on the page, as they are when it is looked at", async () => {
  const metrics = createPrometheusMetrics({ ofProcess: true });
  const { url } = await page(metrics);
  let open: number | undefined = 3;
  metrics.watch("open_things", "Things that are open.", () => open);
  metrics.count("limited_total", { limit: "requests_per_device" });
  metrics.count("limited_total", { limit: "requests_per_device" });
  metrics.count("limiter_fallbacks_total");
  const answer = await fetch(`${url}/metrics`);
  expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await answer.text();
  expect(text).toContain('tidemark_limited_total{limit="requests_per_device"} 2\n');
  expect(text).toContain("tidemark_limiter_fallbacks_total 1\n");
  expect(text).toContain("# HELP tidemark_open_things Things that are open.\n");
  expect(text).toContain("tidemark_open_things 3\n");
  expect(text).toContain("nodejs_eventloop_lag_seconds");
  open = undefined;
  expect(await (await fetch(`${url}/metrics`)).text()).not.toMatch(/^tidemark_open_things/m);
});

test("metrics: labels missing or made up → counted nonetheless, nothing is thrown or added", async () => {
  const metrics = createPrometheusMetrics({ ofProcess: true });
  metrics.count("limited_total");
  metrics.count("limited_total", { limit: "x", principal: "ana" });
  metrics.count("limiter_fallbacks_total", { principal: "ana" });
  const text = await metrics.page();
  expect(text).toContain('tidemark_limited_total{limit=""} 1\n');
  expect(text).toContain('tidemark_limited_total{limit="x"} 1\n');
  expect(text).not.toContain("ana");
});

test("metrics: two servers in one process → each counts for itself", async () => {
  const [one, other] = [
    createPrometheusMetrics({ ofProcess: true }),
    createPrometheusMetrics({ ofProcess: true }),
  ];
  one.count("limiter_fallbacks_total");
  expect(await one.page()).toContain("tidemark_limiter_fallbacks_total 1\n");
  expect(await other.page()).toContain("tidemark_limiter_fallbacks_total 0\n");
});

test("metrics: other paths and methods, and a page that fails → 404, 405, 500 with a warning", async () => {
  const broken = { contentType: "text/plain", page: () => Promise.reject(new Error("a gauge broke")) };
  const { url, log } = await page(broken);
  expect((await fetch(`${url}/`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: "POST", body: "x" })).status).toBe(405);
  expect(log.troubles()).toEqual([]);
  expect((await fetch(`${url}/metrics?from=prometheus`)).status).toBe(500);
  expect(log.troubles()).toHaveLength(1);
});
