/**
 * Deno's built-in OpenTelemetry, which exports what `@opentelemetry/api` records without any SDK.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root, watch } from "../cli/run.ts";
import { test } from "../harness.ts";

// The part of an export that is checked here.
interface Export {
  resourceSpans?: { scopeSpans: { spans: { name: string; spanId: string; parentSpanId?: string }[] }[] }[];
  resourceMetrics?: { scopeMetrics: { scope: { name: string }; metrics: { name: string }[] }[] }[];
}

test("telemetry: Deno's built-in OpenTelemetry exports spans that hang together, and metrics", async () => {
  const exports: Export[] = [];
  const collector = createServer(async (request, response) => {
    exports.push(JSON.parse(await textOf(request)));
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  collector.listen(0, "127.0.0.1");
  await once(collector, "listening");
  const { port } = collector.address() as AddressInfo;
  try {
    const program = fileURLToPath(new URL("./measured_program.ts", import.meta.url));
    const child = spawn(join(root, "node_modules/.bin/deno"), ["run", "--quiet", "--no-check", "-A", program], {
      cwd: root,
      env: {
        ...process.env,
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const { status, err } = await watch(child).result;
    assertEquals(status, 0, err);
  } finally {
    collector.closeAllConnections();
    await new Promise((resolve) => collector.close(resolve));
  }
  const spans = exports.flatMap(({ resourceSpans = [] }) => resourceSpans)
    .flatMap(({ scopeSpans }) => scopeSpans).flatMap(({ spans }) => spans);
  assertEquals(spans.map(({ name }) => name).sort(), ["process orders", "send orders", "settle orders"]);
  const [processed, sent, settled] = ["process", "send", "settle"]
    .map((verb) => spans.find(({ name }) => name.startsWith(verb))!);
  assertEquals([processed!.parentSpanId, settled!.parentSpanId], [sent!.spanId, processed!.spanId]);
  const metrics = new Set(
    exports.flatMap(({ resourceMetrics = [] }) => resourceMetrics).flatMap(({ scopeMetrics }) => scopeMetrics)
      .filter(({ scope }) => scope.name === "@webamqp/amqp").flatMap(({ metrics }) => metrics.map(({ name }) => name)),
  );
  for (const name of ["messaging.client.sent.messages", "messaging.process.duration", "webamqp.connections"]) {
    assertEquals(metrics.has(name), true, name);
  }
});

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return text;
}
