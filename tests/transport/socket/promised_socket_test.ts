import { assertEquals } from "@std/assert";
import { PromisedSocket } from "../../../src/transport/socket/promised_socket.ts";
import { test } from "../../harness.ts";

/** A socket whose reads and writes end when the test says so. */
class HandSocket extends PromisedSocket {
  readonly log: string[] = [];
  reads: PromiseWithResolvers<Uint8Array | undefined>[] = [];
  writes: PromiseWithResolvers<void>[] = [];

  constructor() {
    super();
    for (const event of ["data", "error", "end", "drain", "close"]) {
      this.on(event, (argument: unknown) => this.log.push(`${event} ${told(argument)}`.trim()));
    }
  }

  protected read(): Promise<Uint8Array | undefined> {
    return this.#begin("read", this.reads);
  }

  protected send(bytes: Uint8Array): Promise<void> {
    return this.#begin(`send ${bytes.length}`, this.writes);
  }

  protected sendEnd(): Promise<void> {
    return this.#begin("send end", this.writes);
  }

  protected drop(): void {
    this.log.push("drop");
  }

  #begin<T>(what: string, calls: PromiseWithResolvers<T>[]): Promise<T> {
    this.log.push(what);
    calls.unshift(Promise.withResolvers<T>());
    return calls[0]!.promise;
  }

  /** What has happened since the last call. */
  async happened(): Promise<string> {
    for (let i = 0; i < 20; i++) await undefined;
    return this.log.splice(0).join(", ");
  }
}

function told(argument: unknown): unknown {
  return argument instanceof Error ? argument.message : argument ?? "";
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

test("promised socket: it reads while it is not paused, and keeps what comes then, behind what was put back", async () => {
  const socket = new HandSocket();
  assertEquals(await socket.happened(), "");
  socket.resume();
  assertEquals(await socket.happened(), "read");
  socket.pause();
  socket.reads[0]!.resolve(bytes(3));
  assertEquals(await socket.happened(), "");
  socket.unshift(bytes(2));
  socket.unshift(bytes(1));
  socket.resume();
  socket.resume();
  assertEquals(socket.log, [], "whoever resumes goes on first");
  assertEquals(await socket.happened(), "data 1, data 2, data 3, read");
  socket.pause();
  socket.unshift(bytes(4));
  socket.resume();
  assertEquals(await socket.happened(), "data 4", "it does not wait for the read that is under way");
  socket.reads[0]!.resolve(undefined);
  assertEquals(await socket.happened(), "end");
});

test("promised socket: it writes one piece after the other, tells of room, and closes behind both halves", async () => {
  const socket = new HandSocket();
  socket.resume();
  const left: number[] = [];
  assertEquals(socket.write(new Uint8Array(60_000), () => left.push(1)), true);
  assertEquals(socket.write(new Uint8Array(6_000), () => left.push(2)), false);
  socket.end();
  socket.end();
  assertEquals(await socket.happened(), "send 60000, read");
  socket.writes[0]!.resolve();
  assertEquals([await socket.happened(), left, socket.writableLength], ["drain, send 6000", [1], 6_000]);
  socket.writes[0]!.resolve();
  assertEquals([await socket.happened(), left, socket.writableLength], ["send end", [1, 2], 0]);
  socket.writes[0]!.resolve();
  assertEquals(await socket.happened(), "");
  socket.reads[0]!.resolve(undefined);
  assertEquals(await socket.happened(), "end, drop, close");
});

test("promised socket: what fails is told once, whichever way it went, and nothing comes behind the end", async () => {
  for (const way of ["reads", "writes"] as const) {
    const socket = new HandSocket();
    const left: unknown[] = [];
    socket.resume();
    socket.write(bytes(1), (error) => left.push(error?.message));
    await socket.happened();
    socket[way][0]!.reject(new Error("broken"));
    assertEquals(await socket.happened(), "error broken, drop, close");
    assertEquals(left, way === "writes" ? ["broken"] : []);
    const other = way === "reads" ? socket.writes : socket.reads;
    other[0]!.reject(new Error("cut"));
    socket.write(bytes(2));
    socket.resume();
    assertEquals(await socket.happened(), "");
  }
});

test("promised socket: while it is paused it tells of no bytes and no end, but of a failure", async () => {
  const [ended, failed] = [new HandSocket(), new HandSocket()];
  for (const socket of [ended, failed]) {
    socket.pause();
    assertEquals(await socket.happened(), "read");
  }
  ended.reads[0]!.resolve(undefined);
  assertEquals(await ended.happened(), "");
  ended.resume();
  ended.resume();
  assertEquals(await ended.happened(), "end");
  failed.reads[0]!.reject(new Error("reset"));
  assertEquals(await failed.happened(), "error reset, drop, close");
});
