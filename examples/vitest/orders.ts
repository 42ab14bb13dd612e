// The code of a program that is to be tested.
import type { Connection, Delivery } from "@webamqp/amqp";

/** Confirms each order once; an order without an item is nobody's, so it is rejected. */
export function confirmOrders(connection: Connection, signal: AbortSignal): Promise<void> {
  return connection.receiver("orders").serve(async (delivery: Delivery) => {
    const order = delivery.message.json() as { id: number; item?: string };
    if (order.item === undefined) {
      return delivery.reject({ condition: "shop:no-item", description: `order ${order.id} has no item` });
    }
    await connection.send("confirmations", { body: `${order.id}: ${order.item}` });
  }, { concurrency: 4, signal });
}
