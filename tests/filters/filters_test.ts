import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AmqpError } from "../../src/base/errors.ts";
import { hex } from "../../src/base/text.ts";
import type { Fields } from "../../src/codec/values.ts";
import { described } from "../../src/codec/wrappers.ts";
import { Writer } from "../../src/codec/writer.ts";
import {
  applicationPropertiesFilter,
  directBinding,
  eventPosition,
  headersBinding,
  noLocal,
  propertiesFilter,
  selector,
  sessionFilter,
  sqlFilter,
  streamFilter,
  streamOffset,
  topicBinding,
  xquery,
} from "../../src/filters/mod.ts";
import { browse, delayed, durableSubscription, nodeProperties, sharedSubscription } from "../../src/filters/sources.ts";
import { acceptor, type SenderRequest } from "../../src/server/acceptor.ts";
import { linkUp } from "../client/link_up.ts";
import { test } from "../harness.ts";

// The wire form with readable texts: `53`, `80468c…`, then the value.
function wire(fields: Fields): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      const writer = new Writer(64);
      writer.value(value);
      return [name, hex(writer.take())];
    }),
  );
}

const ascii = (text: string) => hex(new TextEncoder().encode(text));
const str = (text: string) => `a1${text.length.toString(16).padStart(2, "0")}${ascii(text)}`;
const sym = (text: string) => `a3${text.length.toString(16).padStart(2, "0")}${ascii(text)}`;
const apache = (code: number) => `00800000468c0000000${code}`;

test("EXT-2: filters of Apache, to the byte", () => {
  assertEquals(wire(selector("a = 1")), { "jms-selector": apache(4) + str("a = 1") });
  assertEquals(wire(noLocal()), { "no-local": `${apache(3)}45` });
  assertEquals(wire(directBinding("k")), { "apache.org:legacy-amqp-direct-binding:string": apache(0) + str("k") });
  assertEquals(wire(topicBinding("a.*.#")), {
    "apache.org:legacy-amqp-topic-binding:string": apache(1) + str("a.*.#"),
  });
  const map = `c114 04 ${str("x-match")}${str("any")}${str("a")}${str("b")}`.replaceAll(" ", "");
  const size = ((map.length - 6) / 2 + 1).toString(16).padStart(2, "0");
  assertEquals(wire(headersBinding({ a: "b" }, "any")), {
    "apache.org:legacy-amqp-headers-binding:map": `${apache(2)}c1${size}${map.slice(4)}`,
  });
  assertEquals(wire(xquery("/a")), { "apache.org:xquery-filter:string": apache(5) + str("/a") });
});

test("EXT-3: filters of AMQP Filter Expressions, to the byte", () => {
  assertEquals(wire(sqlFilter("a > 1")), { "sql-filter": `00800000000000000120${str("a > 1")}` });
  const properties = propertiesFilter({
    subject: "&p:a",
    contentType: "b",
    groupSequence: 5,
    creationTime: new Date(1),
  });
  const entries = [
    sym("subject") + str("&p:a"),
    sym("content-type") + sym("b"),
    `${sym("group-sequence")}5205`,
    `${sym("creation-time")}830000000000000001`,
  ].join("");
  const sizeOf = (text: string) => (text.length / 2 + 1).toString(16).padStart(2, "0");
  assertEquals(wire(properties), {
    "amqp:properties-filter": `00800000000000000173c1${sizeOf(entries)}08${entries}`,
  });
  const application = str("k") + str("v");
  assertEquals(wire(applicationPropertiesFilter({ k: "v" })), {
    "amqp:application-properties-filter": `00800000000000000174c1${sizeOf(application)}02${application}`,
  });
});

test("EXT-4: filters of RabbitMQ streams, to the byte", () => {
  const offset = `00${sym("rabbitmq:stream-offset-spec")}`;
  const name = "rabbitmq:stream-offset-spec";
  assertEquals(wire(streamOffset("first")), { [name]: offset + str("first") });
  assertEquals(wire(streamOffset(5)), { [name]: `${offset}5305` });
  assertEquals(wire(streamOffset(1n << 40n)), { [name]: `${offset}800000010000000000` });
  assertEquals(wire(streamOffset(new Date(1))), { [name]: `${offset}830000000000000001` });
  assertEquals(wire(streamFilter("a")), { "rabbitmq:stream-filter": `00${sym("rabbitmq:stream-filter")}${str("a")}` });
  assertEquals(wire(streamFilter(["a", "b"], true)), {
    "rabbitmq:stream-filter": `00${sym("rabbitmq:stream-filter")}c00702${str("a")}${str("b")}`,
    "rabbitmq:stream-match-unfiltered": `00${sym("rabbitmq:stream-match-unfiltered")}41`,
  });
});

test("EHX-1, SBX-3: positions of Event Hubs and sessions of Service Bus, to the byte", () => {
  const of = (expression: string) => ({ "apache.org:selector-filter:string": apache(4) + str(expression) });
  assertEquals(wire(eventPosition({ offset: "123" })), of("amqp.annotation.x-opt-offset > '123'"));
  assertEquals(wire(eventPosition({ offset: "a'b", inclusive: true })), of("amqp.annotation.x-opt-offset >= 'a''b'"));
  assertEquals(
    wire(eventPosition({ sequenceNumber: 7n, inclusive: true })),
    of("amqp.annotation.x-opt-sequence-number >= '7'"),
  );
  assertEquals(wire(eventPosition({ enqueuedTime: new Date(9) })), of("amqp.annotation.x-opt-enqueued-time > '9'"));
  assertEquals(wire(sessionFilter("s")), { "com.microsoft:session-filter": str("s") });
  assertEquals(wire(sessionFilter(null)), { "com.microsoft:session-filter": "40" });
});

test("TRM-1, TRM-3, TRM-4, EXT-5, EXT-8: subscriptions, browsing, dynamic nodes, delay", () => {
  const kept = { durable: "unsettled-state", expiryPolicy: "never" } as const;
  assertEquals(durableSubscription("s"), { name: "s", source: kept });
  const shared = { ...kept, capabilities: ["shared"] };
  assertEquals(durableSubscription("s", { shared: true }), { name: "s", source: shared });
  assertEquals(durableSubscription("s", { shared: true, instance: 2 }), { name: "s|2", source: shared });
  const everywhere = { ...kept, capabilities: ["shared", "global"] };
  assertEquals(durableSubscription("s", { shared: true, global: true }), { name: "s|global", source: everywhere });
  assertEquals(sharedSubscription("s"), { name: "s|volatile1", source: { capabilities: ["shared"] } });
  assertEquals(sharedSubscription("s", { global: true, instance: 3 }), {
    name: "s|global-volatile3",
    source: { capabilities: ["shared", "global"] },
  });
  assertEquals(browse(), { source: { distributionMode: "copy" } });
  assertEquals(wire(nodeProperties("no-messages", ["move", "copy"])), {
    "lifetime-policy": "00532d45",
    "supported-dist-modes": "e00c02a3046d6f766504636f7079",
  });
  assertEquals(wire(delayed(5)), { "x-opt-delivery-delay": "5505" });
  assertEquals(wire(delayed(new Date(2 ** 40))), { "x-opt-delivery-time": "810000010000000000" });
  assertEquals(wire(delayed(new Date(1), { serviceBus: true })), {
    "x-opt-scheduled-enqueue-time": "830000000000000001",
  });
  assertThrows(() => streamOffset(-1), RangeError);
});

const asked = { ...selector("a = 1"), ...noLocal() };

async function attach(
  answer: (filter: Fields) => Fields | undefined,
  filterMismatch?: "ignore",
  filter = asked,
): Promise<unknown> {
  const server = acceptor({
    onSender: (request: SenderRequest) => {
      const { source } = request.attach;
      request.accept({ source: { ...source!, filter: answer(source!.filter!) } });
    },
  });
  const connection = linkUp(server);
  const receiver = connection.receiver("orders", { filter, filterMismatch });
  const error = await receiver.ready().then(() => undefined, (thrown) => thrown);
  assertEquals(receiver.open, error === undefined);
  await connection.close();
  return error;
}

test("filters: what is none is refused where it is written, and the error says what is wanted", () => {
  const none = undefined as never;
  for (
    const [call, told] of [
      [() => selector(none), "filter: selector is undefined, not a string"],
      [() => xquery(5 as never), "filter: XQuery expression is a number, not a string"],
      [() => sqlFilter(none), "filter: SQL expression is undefined, not a string"],
      [() => directBinding(none), "filter: routing key is undefined, not a string"],
      [() => topicBinding({} as never), "filter: pattern is an empty object, not a string"],
      [() => headersBinding(none), "filter: headers is undefined, not an object"],
      [() => headersBinding({}, "some" as never), 'filter: match is "some", not "all" or "any"'],
      [() => propertiesFilter(none), "filter: properties is undefined, not an object"],
      [
        () => propertiesFilter({ message_id: 1 } as never),
        'Cannot encode properties: "message_id" is "messageId" here',
      ],
      [() => applicationPropertiesFilter([] as never), "filter: application properties is an array, not an object"],
      [
        () => streamOffset("fist" as never),
        'filter: offset is "fist", not "first", "last", "next", a number or a Date',
      ],
      [() => streamOffset(none), "filter: offset is undefined, not "],
      [() => streamFilter(5 as never), "filter: values is a number, not a string or an array of strings"],
      [() => eventPosition(none), "filter: position is undefined, not an object"],
      [() => eventPosition("@latest" as never), 'filter: position is "@latest", not an object'],
      [() => eventPosition({} as never), "filter: position is an empty object, not one with offset, "],
      [() => eventPosition({ offset: 5 } as never), "filter: offset is a number, not a string"],
      [
        () => eventPosition({ sequenceNumber: "5" } as never),
        'filter: sequenceNumber is "5", not a whole number or bigint',
      ],
      [
        () => eventPosition({ sequenceNumber: NaN }),
        "filter: sequenceNumber is a number, not a whole number or bigint",
      ],
      [
        () => eventPosition({ enqueuedTime: new Date(NaN) }),
        "filter: enqueuedTime is an object of class Date, not a valid",
      ],
      [() => eventPosition({ offset: "1", inclusiv: true } as never), 'filter: position has no "inclusiv"'],
      [() => eventPosition({ offset: "1", inclusive: "no" } as never), 'filter: inclusive is "no", not a boolean'],
      [
        () => eventPosition({ enqueuedTime: new Date(9), inclusive: true } as never),
        "filter: only an offset or a number",
      ],
      [
        () => eventPosition({ offset: "1", sequenceNumber: 5 }),
        'an object with "offset", "sequenceNumber", not one with',
      ],
      [() => streamFilter(["a", 5] as never), "filter: values is a number, not a string or an array of strings"],
      [() => propertiesFilter({ subject: undefined }), 'filter: "subject" is undefined, leave it out'],
      [() => headersBinding({ a: undefined } as never), 'filter: "a" is undefined, leave it out'],
      [() => applicationPropertiesFilter({ a: undefined } as never), 'filter: "a" is undefined, leave it out'],
      [() => eventPosition({ enqueuedTime: 5 } as never), "filter: enqueuedTime is a number, not a valid Date"],
      [() => durableSubscription("s", { global: true }), 'subscribe: option "global" is for those that are shared'],
      [() => durableSubscription("s", { instance: 2 }), 'subscribe: option "instance" is for those that are shared'],
      [() => sessionFilter(none), "filter: session id is undefined, not a string"],
      [() => nodeProperties(none), "node: lifetime is undefined, not one of close, no-links, "],
      [() => nodeProperties("toString" as never), 'node: lifetime is "toString", not one of'],
      [() => delayed("soon" as never), "message: time is a string, not a Date or a number of milliseconds from 0 on"],
      [() => delayed(-1), "message: time is -1, not "],
      [() => delayed(1, { servicebus: true } as never), '"serviceBus" is meant'],
    ] satisfies [() => unknown, string][]
  ) assertThrows(call, TypeError, told);
  assertThrows(() => sharedSubscription("s", { instance: 0 }), RangeError, 'option "instance" is 0');
});

test("TRM-5: filters that are in force as asked for are no error, whatever the peer calls them", async () => {
  assertEquals(await attach((filter) => filter), undefined);
  const bySymbol = { "no-local": { ...noLocal() }["no-local"]! };
  assertEquals(await attach((filter) => ({ selector: filter["jms-selector"]!, ...bySymbol })), undefined);
  for (const offset of [7, 7n, 0, "first", new Date(5)] as const) {
    assertEquals(await attach((filter) => filter, undefined, streamOffset(offset)), undefined, `offset ${offset}`);
  }
  const other = await attach((filter) => filter && streamOffset(8), undefined, streamOffset(7));
  assertEquals((other as AmqpError).condition, "amqp:not-implemented");
});

test("TRM-5: a filter that the peer drops, leaves empty or changes is an error unless told otherwise", async () => {
  for (
    const answer of [
      () => undefined,
      () => ({}),
      () => noLocal(),
      () => ({ ...asked, "jms-selector": null }),
      () => ({ ...asked, ...selector("a = 2") }),
      () => ({ ...noLocal(), other: "a = 1" }),
      // The same words to another filter.
      () => ({ ...noLocal(), other: described("vendor:selector", "a = 1") }),
    ]
  ) {
    const error = await attach(answer);
    if (!(error instanceof AmqpError)) throw new Error(`no error: ${error}`);
    assertEquals([error.condition, error.scope, error.retryable], ["amqp:not-implemented", "link", false]);
    assertEquals(
      error.message.includes('from "orders": peer does not apply filter "jms-selector"'),
      true,
      error.message,
    );
    assertEquals(await attach(answer, "ignore"), undefined);
  }
  await assertRejects(
    async () => {
      throw await attach(() => ({}));
    },
    AmqpError,
    '"jms-selector", "no-local"',
  );
});
