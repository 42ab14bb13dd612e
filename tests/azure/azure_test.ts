import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { azure, sharedAccessSignature } from "../../src/azure/azure.ts";
import { connect } from "../../src/client/connect.ts";
import { type CbsPeer, cbsPeer } from "../client/cbs_peer.ts";
import { VirtualNetwork } from "../client/virtual.ts";
import { test } from "../harness.ts";

const ROOT = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=Root Key;SharedAccessKey=a+key/==";

test("CBS-2, CBS-5: a connection string becomes a URL, options and tokens", async () => {
  const { url, options, entityPath } = azure(`${ROOT};EntityPath=orders`);
  assertEquals(url, "wss://ns.servicebus.windows.net/$servicebus/websocket");
  assertEquals([options.auth.name, options.hostname, options.subprotocols, entityPath], [
    "ANONYMOUS",
    "ns.servicebus.windows.net",
    ["AMQPWSB10"],
    "orders",
  ]);
  const audience = options.claims!.audience!("orders/Subscriptions/s");
  assertEquals(audience, "sb://ns.servicebus.windows.net/orders/Subscriptions/s");
  const { token, type, expiresAt } = await options.claims!.token(audience!);
  assertEquals(type, "servicebus.windows.net:sastoken");
  assert(Math.abs(expiresAt!.getTime() - Date.now() - 3_600_000) < 60_000);
  assert(
    token.startsWith("SharedAccessSignature sr=sb%3A%2F%2Fns.servicebus.windows.net%2Forders%2FSubscriptions%2Fs&sig="),
  );
  assertEquals(azure(ROOT, { transport: "socket" }).url, "amqps://ns.servicebus.windows.net:5671");
});

test("CBS-5, MGT-4: $management of Event Hubs takes the token for the hub that the connection string names", () => {
  const audienceOf = (text: string) => azure(text).options.claims!.audience!("$management");
  assertEquals(audienceOf(`${ROOT};EntityPath=events`), "sb://ns.servicebus.windows.net/events/$management");
  assertEquals(audienceOf(ROOT), "sb://ns.servicebus.windows.net/$management");
});

test("CBS-2: a shared access signature, as another implementation makes it", async () => {
  assertEquals(
    await sharedAccessSignature(
      "sb://ns.servicebus.windows.net/orders",
      "Root Key",
      "a+key/==",
      new Date(1_700_000_000_000),
    ),
    "SharedAccessSignature sr=sb%3A%2F%2Fns.servicebus.windows.net%2Forders" +
      "&sig=%2B%2BSr2e06BK668fYWXnV02TvCTcsWBtrovZooO5MdEb0%3D&se=1700000000&skn=Root%20Key",
  );
});

test("CBS-2: a credential, a signature that is made already, an emulator", async () => {
  const scopes: string[] = [];
  const credential = {
    getToken: (scope: string) => {
      scopes.push(scope);
      return Promise.resolve({ token: "entra", expiresOnTimestamp: 5_000 });
    },
  };
  for (const where of ["ns.servicebus.windows.net", "Endpoint=sb://ns.servicebus.windows.net/"]) {
    const { url, options } = azure(where, { credential });
    assertEquals(url, "wss://ns.servicebus.windows.net/$servicebus/websocket");
    assertEquals(await options.claims!.token("x"), { token: "entra", type: "jwt", expiresAt: new Date(5_000) });
  }
  assertEquals(scopes[0], "https://servicebus.azure.net/.default");
  await assertRejects(
    async () => await azure("ns", { credential: { getToken: () => Promise.resolve(null) } }).options.claims!.token("x"),
    TypeError,
    "the credential has none",
  );

  const signature = "SharedAccessSignature sr=a&sig=b%3D&se=9000&skn=k";
  const made = azure(`Endpoint=sb://ns.example/;SharedAccessSignature=${signature}`);
  assertEquals(await made.options.claims!.token("x"), {
    token: signature,
    type: "servicebus.windows.net:sastoken",
    expiresAt: new Date(9_000_000),
  });

  const keys = "SharedAccessKeyName=Root;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;";
  assertEquals(azure(`Endpoint=sb://localhost;${keys}`).url, "amqp://localhost:5672");
  assertEquals(azure(`Endpoint=sb://127.0.0.1:7777/;${keys}`).url, "amqp://127.0.0.1:7777");
  assertEquals(azure(`Endpoint=sb://127.0.0.1:7777/;${keys}`).options.hostname, "127.0.0.1");
});

test("ATK-14: what is no connection string is refused without showing it", () => {
  for (
    const text of [
      "",
      "SharedAccessKeyName=Root;SharedAccessKey=topsecret",
      "Endpoint=sb://ns.example/;SharedAccessKey=topsecret",
      "Endpoint=ftp://ns.example/;SharedAccessKey=topsecret;SharedAccessKeyName=a",
      "Endpoint=sb://ns.example/topsecret/;SharedAccessKey=topsecret;SharedAccessKeyName=a",
      "ns.servicebus.windows.net",
      "Endpoint=sb://ns.example/;SharedAccessKey=;SharedAccessKeyName=topsecret",
      "Endpoint=sb://ns.example/;SharedAccessKey=topsecret;SharedAccessKeyName=",
      '"Endpoint=sb://ns.example/;SharedAccessKey=topsecret;SharedAccessKeyName=a"',
    ]
  ) {
    const { message } = assertThrows(() => azure(text), TypeError, "Cannot use connection string");
    assert(!message.includes("topsecret"), message);
  }
  assertThrows(() => azure(`'${ROOT}'`), TypeError, "it is in quotation marks, take them off");
  assertThrows(() => azure(undefined as never), TypeError);
});

test("CBS-1, CBS-6: a connection of azure() puts a token for every entity before its link attaches", async () => {
  // In real time: signing takes real time, which virtual time would leap over.
  const network = new VirtualNetwork();
  const peer: CbsPeer = cbsPeer();
  network.up("ns.servicebus.windows.net", (channel) => peer.accept(channel));
  const { url, options } = azure(ROOT);
  const connection = await connect(url, { ...options, dial: network.dial });
  await connection.sender("orders").ready();
  assertEquals(peer.last?.type, "servicebus.windows.net:sastoken");
  assertEquals(peer.heard.map((said) => said.replace(/SharedAccess.*?skn=\S+/, "SAS")), [
    "token SAS for sb://ns.servicebus.windows.net/orders",
    "attach orders",
  ]);
  await connection.close();
  await peer.close();
});
