/**
 * Our transactions against a coordinator that is written with rhea, which knows nothing of transactions itself.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { hex } from "../../src/base/text.ts";
import rhea, { type Container } from "rhea";
import { connect, type Connection, TransactionError } from "../../mod.ts";
import { test } from "../harness.ts";
import { rheaServer } from "./rhea.ts";

/** A delivery of rhea's, with a state of any kind: an unknown one is its fields. */
interface RheaDelivery {
  readonly remote_state?: readonly [txnId: Uint8Array];
  update(settled: boolean, state: unknown): void;
}

/** A link of rhea's. */
interface RheaLink {
  readonly remote: { readonly attach: { readonly target: { readonly value?: unknown } } };
  readonly local: { readonly attach: { target: unknown } };
  /** Added here: whether the link controls transactions. */
  coordinates?: boolean;
}

const { types } = rhea as unknown as {
  types: Record<
    "wrap_described" | "wrap_list" | "wrap_binary" | "wrap_string" | "wrap_symbol",
    (
      value: unknown,
      descriptor?: number,
    ) => unknown
  >;
};
const state = (code: number, ...fields: unknown[]) => types.wrap_described(types.wrap_list(fields), code);
const ACCEPTED = state(0x24);

/** Records the requests and answers them, a discharge with `answer`, undefined for success. */
function coordinator(container: Container, answer: () => unknown = () => undefined) {
  const heard: string[] = [];
  const open = new Map<string, string[]>();
  container.on("receiver_open", ({ receiver }) => {
    const link = receiver as unknown as RheaLink;
    // The one terminus that rhea cannot read.
    link.coordinates = link.remote.attach.target.value === null;
    if (!link.coordinates) return;
    link.local.attach.target = state(0x30, types.wrap_symbol("amqp:local-transactions"));
  });
  container.on("message", ({ message, delivery, receiver }) => {
    const { remote_state, update } = delivery as unknown as RheaDelivery;
    const settle = update.bind(delivery);
    if (!(receiver as unknown as RheaLink).coordinates) {
      const [id] = remote_state!;
      open.get(hex(id))!.push(String(message!.body));
      return settle(true, state(0x34, types.wrap_binary(id), ACCEPTED));
    }
    // A declaration is a list of nothing, a discharge one of two.
    const [id, fail] = message!.body as [Uint8Array?, boolean?];
    if (id === undefined) {
      const id = Uint8Array.of(1, open.size);
      open.set(hex(id), []);
      return settle(true, state(0x33, types.wrap_binary(id)));
    }
    heard.push(`${fail ? "roll back" : "commit"} ${open.get(hex(id))!.join(" ")}`);
    settle(true, answer() ?? ACCEPTED);
  });
  return heard;
}

async function world(answer?: () => unknown): Promise<{ connection: Connection; heard: string[] } & AsyncDisposable> {
  const server = await rheaServer({ receiver_options: { autoaccept: false, credit_window: 100 } });
  const heard = coordinator(server.container, answer);
  const connection = await connect(server.url);
  return {
    connection,
    heard,
    async [Symbol.asyncDispose]() {
      await connection.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("TXN-1, TXN-2, TXN-3, TXN-5: what is sent in a transaction is committed or rolled back by a coordinator of rhea", async () => {
  await using it = await world();
  const orders = it.connection.sender("orders");
  const first = await it.connection.transaction();
  const second = await it.connection.transaction();
  assertEquals([...first.id, ...second.id], [1, 0, 1, 1]);
  const provisional = await first.send(orders, { body: "a" });
  assertEquals(provisional?.kind, "accepted");
  await second.send(orders, { body: "x" });
  await first.send(orders, { body: "b" });
  await first.commit();
  await second.rollback();
  assertEquals([it.heard, first.state, second.state], [["commit a b", "roll back x"], "committed", "rolled-back"]);
});

test("TXN-4, TXN-10: a commit that a coordinator of rhea rejects was rolled back, for the reason that it gives", async () => {
  const timeout = state(0x1d, types.wrap_symbol("amqp:transaction:timeout"), types.wrap_string("too late"));
  await using it = await world(() => state(0x25, timeout));
  const transaction = await it.connection.transaction();
  await transaction.send(it.connection.sender("orders"), { body: "a" });
  const error = await assertRejects(() => transaction.commit(), TransactionError, "too late");
  assertEquals([error.condition, error.outcome, transaction.state], [
    "amqp:transaction:timeout",
    "rolled-back",
    "rolled-back",
  ]);
});
