/**
 * The table of commands with their flags, from which parsing, help and completion derive.
 *
 * @module
 */

/** A flag of a command; its environment variable is `WEBAMQP_` and its name in upper case. */
export interface Flag {
  /** The placeholder of its value in the help; a flag without one is on or off. */
  readonly value?: string;
  /** The one-letter form. */
  readonly short?: string;
  /** Whether it may be given several times. */
  readonly multiple?: true;
  readonly help: string;
}

export interface Command {
  readonly summary: string;
  /** The arguments, as in the help. */
  readonly args: string;
  /** The flags beside those of all connecting commands. */
  readonly flags: Readonly<Record<string, Flag>>;
  /** Whether the command connects, and so has the flags of `webamqp help connection`. */
  readonly connects: boolean;
  readonly examples: readonly string[];
}

const json: Flag = { help: "JSON on the output instead of text" };
const count: Flag = { value: "N", short: "n", help: "End after N messages" };
const timeout: Flag = { value: "SECONDS", short: "t", help: "Give up after that long without progress" };
const trace: Flag = { value: "FILE", help: "Write a trace of all frames, as JSON Lines" };
const view: Flag = { help: "Open the frames in the viewer when it ends" };
const listen: Flag = { value: "[HOST:]PORT", short: "l", help: "Where to listen. Default: 127.0.0.1:5672" };
const cert: Flag = { value: "FILE", help: "Certificate chain in PEM; with it TLS is spoken too" };
const key: Flag = { value: "FILE", help: "Its private key in PEM" };
const origin: Flag = {
  value: "ORIGIN",
  multiple: true,
  help: "Web pages that may connect",
};
const set: Flag = {
  value: "FIELD=VALUE",
  short: "s",
  multiple: true,
  help: "A field of header or properties, as ttl=5000",
};
const property: Flag = { value: "NAME=VALUE", short: "p", multiple: true, help: "An application property" };
const file: Flag = { value: "FILE", short: "f", help: "The content of a file as body; - is the input" };
const raw: Flag = { help: "Only the bodies, byte for byte" };
const full: Flag = { help: "All sections of each message, not only its body" };

export const connectionFlags: Readonly<Record<string, Flag>> = {
  url: { value: "URL", short: "u", help: "Where to connect, unless the first argument says" },
  user: { value: "NAME", help: "User name, unless the URL has one" },
  password: { value: "TEXT", help: "Password or token; others see flags: WEBAMQP_PASSWORD" },
  mechanism: { value: "NAME", help: "plain, scram-sha-256, bearer, external or none" },
  cleartext: { help: "Let anyone on the way read the password, without TLS" },
  container: { value: "ID", help: "The container-id. Default: a random one" },
  hostname: { value: "NAME", help: "The virtual host. Default: the host of the URL" },
  subprotocol: { value: "NAME", multiple: true, help: "WebSocket subprotocol. Default: amqp" },
  header: { value: "NAME:VALUE", multiple: true, help: "Header field of the WebSocket handshake" },
  proxy: { value: "URL", help: "HTTP proxy, or env: the one of the environment" },
  "proxy-basic": { help: "Let the proxy have the password in clear" },
  ca: { value: "FILE", help: "Certificate authorities to trust, in PEM" },
  cert: { value: "FILE", help: "Client certificate in PEM" },
  key: { value: "FILE", help: "Its private key in PEM" },
  reconnect: { help: "Connect anew when the connection is lost" },
  trace,
  view,
};

export const commands: Readonly<Record<string, Command>> = {
  send: {
    summary: "Send messages and wait for their outcomes",
    args: "[URL] ADDRESS [TEXT…]",
    connects: true,
    flags: {
      file,
      lines: { value: "FILE", help: "A message for each line; - is the input (default)" },
      "json-lines": { value: "FILE", help: "A message for each line, as receive --json prints" },
      count: { value: "N", short: "n", help: "Send the message, or made-up ones, N times" },
      size: { value: "BYTES", help: "Size of made-up bodies. Default: 100" },
      set,
      property,
      settled: { help: "Send settled: at most once, without an outcome" },
      "keep-going": { help: "Go on after a message that is not accepted" },
      timeout,
      json,
    },
    examples: ["webamqp send ws://localhost:5672 orders 'one coffee'", "webamqp send orders --count 10000 --size 1024"],
  },
  receive: {
    summary: "Receive messages, each accepted once it is printed",
    args: "[URL] ADDRESS",
    connects: true,
    flags: { count, timeout, full, raw, json, credit: { value: "N", help: "Messages on their way. Default: 64" } },
    examples: ["webamqp receive orders --json | jq .body", "webamqp receive orders -n 1 -t 5"],
  },
  browse: {
    summary: "Look at the messages of a queue and leave them there",
    args: "[URL] ADDRESS",
    connects: true,
    flags: { count, timeout, full, raw, json },
    examples: ["webamqp browse orders --full"],
  },
  drain: {
    summary: "Empty a queue: accept all that is there now and end",
    args: "[URL] ADDRESS",
    connects: true,
    flags: { count, timeout, print: { help: "Print the messages as receive does" }, full, raw, json },
    examples: ["webamqp drain dead-letters --print --json > letters.jsonl"],
  },
  request: {
    summary: "Send a request and print its answer",
    args: "[URL] ADDRESS [TEXT]",
    connects: true,
    flags: { file, set, property, timeout, full, raw, json },
    examples: ["webamqp request time now -t 5"],
  },
  respond: {
    summary: "Answer requests: with a text, a command's output, or an echo",
    args: "[URL] ADDRESS [TEXT]",
    connects: true,
    flags: {
      exec: { value: "COMMAND", short: "x", help: "Run it for each: body as input, output as answer" },
      concurrency: { value: "N", help: "Requests at a time. Default: 1" },
      count,
      json,
    },
    examples: ["webamqp respond shout --exec 'tr a-z A-Z'"],
  },
  broker: {
    summary: "Run a broker that keeps everything in memory",
    args: "",
    connects: false,
    flags: {
      listen,
      user: { value: "NAME:PASSWORD", multiple: true, help: "Who may connect. Default: anybody" },
      queue: { value: "NAME", multiple: true, help: "Only these queues. Default: any that is used" },
      topic: { value: "NAME", multiple: true, help: "Topics; NAME may end in *. Default: topic/*" },
      "dead-letter": { value: "NAME", help: "Where rejected messages go" },
      "max-deliveries": { value: "N", help: "Attempts before a message counts as rejected" },
      cert,
      key,
      origin,
      trace,
      view,
      json,
    },
    examples: ["webamqp broker --listen 5672 --user shop:secret"],
  },
  gateway: {
    summary: "Join WebSocket clients to a broker that speaks TCP, or the reverse",
    args: "TARGET",
    connects: false,
    flags: {
      listen,
      cert,
      key,
      origin,
      ca: connectionFlags.ca!,
      proxy: connectionFlags.proxy!,
      "proxy-basic": connectionFlags["proxy-basic"]!,
      trace,
      view,
      json,
    },
    examples: ["webamqp gateway amqp://broker.example -l 0.0.0.0:8080"],
  },
  trace: {
    summary: "Watch the frames that pass to a broker, or those of a capture",
    args: "[TARGET]",
    connects: false,
    flags: {
      listen,
      target: { value: "URL", help: "The broker, unless the argument says it" },
      from: { value: "FILE", help: "Read a capture (pcap, pcapng, hex) or a trace" },
      out: { value: "FILE", short: "o", help: "Write the trace there, as JSON Lines" },
      json,
      view: { help: "Open the viewer when it ends, with --from at once" },
      cert,
      key,
      ca: connectionFlags.ca!,
    },
    examples: ["webamqp trace --listen 8080 --target amqp://localhost", "webamqp trace --from dump.pcap --view"],
  },
  bench: {
    summary: "Measure a broker, or without a URL the one of this package",
    args: "[URL] [ADDRESS]",
    connects: true,
    flags: {
      count: { value: "N", short: "n", help: "Messages. Default: 50,000" },
      size: { value: "BYTES", help: "Size of a body. Default: 100" },
      settled: { help: "Send settled" },
      timeout,
      json,
    },
    examples: ["webamqp bench amqp://localhost bench --count 100000 --size 1024"],
  },
  doctor: {
    summary: "Try every step to a broker, and say which fails and why",
    args: "[URL] [ADDRESS]",
    connects: true,
    flags: { timeout: { value: "SECONDS", short: "t", help: "For each step. Default: 10" }, json },
    examples: ["webamqp doctor wss://user@broker.example/amqp orders"],
  },
  completion: {
    summary: "Print the completion of a shell: bash, zsh or fish",
    args: "SHELL",
    connects: false,
    flags: {},
    examples: ["source <(webamqp completion bash)"],
  },
};

export function flagsOf({ flags, connects }: Command): Readonly<Record<string, Flag>> {
  return connects ? { ...connectionFlags, ...flags } : flags;
}
