/**
 * Sends and receives over sockets whose connections break all the time, and checks the result.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Broker } from "../../src/broker/broker.ts";
import { connect } from "../../src/client/connect.ts";
import { listen } from "../../src/transport/sockets.ts";
import { random } from "../harness.ts";
import { type Cut, CuttingProxy } from "./cutting_proxy.ts";
import { rheaServer } from "./rhea_server.ts";

/** The settings of a soak. */
export interface SoakOptions {
  readonly scheme: "amqp" | "ws";
  readonly server: "broker" | "rhea";
  /** Messages each way. */
  readonly messages: number;
  /** Connections that are cut. */
  readonly cuts: number;
  readonly seed: number;
  /** Most bytes after which a connection breaks. */
  readonly most?: number;
  /** Called after every thousandth outcome. */
  readonly ontick?: (sent: number) => void;
}

/** The result of a soak. */
export interface SoakReport {
  readonly sent: number;
  /** The sends among them that were repeated. */
  readonly resent: number;
  readonly received: number;
  /** Messages that came more than once. */
  readonly twice: number;
  readonly cuts: Readonly<Record<Cut, number>>;
  readonly seconds: number;
}

// Pending sends.
const IN_FLIGHT = 200;

/**
 * Runs a soak: every send is accepted, and everything comes. Our broker keeps the state of links, so that nothing comes or
 * is handled twice; a rhea server keeps none, and gets repeated sends twice at most.
 */
export async function soak(
  { scheme, server, messages, cuts, seed, most = 60_000, ontick }: SoakOptions,
): Promise<SoakReport> {
  const started = performance.now();
  const rhea = server === "rhea" ? await rheaServer(scheme, messages) : undefined;
  const broker = rhea === undefined ? new Broker({ log: null, settleModes: ["first", "second"] }) : undefined;
  const listener = broker && await listen({ host: "127.0.0.1", port: 0, acceptor: broker, log: null });
  const proxy = new CuttingProxy(rhea?.port ?? listener!.port, random(seed), cuts, most);
  const connection = await connect(`${scheme}://127.0.0.1:${await proxy.listen()}/`, {
    containerId: "soak",
    reconnect: { initialDelayMs: 5, maxDelayMs: 100, initial: true },
    log: null,
  });
  const recovery = broker === undefined ? "resend" : "resume";
  const sender = connection.sender("soak", { name: "soak sender", recovery });
  const receiver = connection.receiver("soak", {
    name: "soak receiver",
    credit: 100,
    ...broker === undefined ? {} : { recovery, rcvSettleMode: "second" },
  });
  const handled = new Map<string, number>();
  let done!: () => void;
  const complete = new Promise<void>((resolve) => done = resolve);
  const serving = receiver.serve(({ message }) => {
    const body = message.text();
    handled.set(body, (handled.get(body) ?? 0) + 1);
    if (handled.size === messages) done();
  }, { concurrency: 50 });
  let resent = 0;
  let next = 0;
  const again = new Set<string>();
  const work = async (): Promise<void> => {
    while (next < messages) {
      const body = `in/${next++}`;
      const outcome = await sender.send({ body: body.padEnd(10 + next % 400) });
      assertEquals(outcome?.kind, "accepted");
      if (outcome?.resent) {
        resent++;
        again.add(body);
      }
      if (next % 1_000 === 0) ontick?.(next);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  await Promise.race([complete, serving]);
  await connection.close();
  assertEquals(handled.size, messages, "messages that did not come");
  const twice = [...handled.values()].filter((times) => times > 1).length;
  if (rhea !== undefined) {
    assertEquals(rhea.stored.size, messages, "messages that rhea does not have");
    for (const [body, times] of rhea.stored) {
      assert(times === 1 || again.has(body.trim()), `${body} is there ${times} times and was sent once`);
    }
  } else {
    assertEquals(twice, 0, "messages that were handled twice");
    await new Promise((resolve) => setTimeout(resolve, 50));
    assertEquals(broker!.messages, 0, "messages that are left");
  }
  await broker?.close();
  await listener?.close();
  await rhea?.close();
  await proxy.close();
  const seconds = Math.round(performance.now() - started) / 1_000;
  return { sent: messages, resent, received: handled.size, twice, cuts: proxy.cuts, seconds };
}
