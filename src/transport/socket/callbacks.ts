/**
 * Callbacks of a serving program: an error in one ends the client that it was called for, and is logged.
 *
 * @module
 */

import { isPromise } from "../../base/kinds.ts";
import type { Log } from "../../base/log.ts";
import { describeKind } from "../../base/options.ts";
import { encodeRefusal } from "../websocket/upgrade.ts";
import type { HttpServiceOptions, UpgradeRefusal } from "./listen_http.ts";
import type { PausableChannel } from "./socket.ts";

/** Calls the callbacks that decide on clients and take their channels, which may throw on a client's input. */
export class Callbacks {
  readonly #log: Log;
  readonly #where: () => string;

  /** Logs failures to `log`; `where` names the server. */
  constructor(log: Log, where: () => string) {
    this.#log = log;
    this.#where = where;
  }

  /** Wraps the callbacks of `options` so that they never throw: a failure refuses the client. */
  guard(options: HttpServiceOptions): HttpServiceOptions {
    const { origins, paths, authenticate } = options;
    const decides = (option: string, decide: (text: string) => boolean) => (text: string): boolean => {
      try {
        // A promise counts as false.
        return decide(text) === true;
      } catch (error) {
        this.report(option, error);
        return false;
      }
    };
    return {
      ...options,
      origins: typeof origins === "function" ? decides("origins", origins) : origins,
      paths: typeof paths === "function" ? decides("paths", paths) : paths,
      authenticate: authenticate && (async (request, info) => {
        try {
          const refusal = await authenticate(request, info);
          if (refusal !== undefined) checkRefusal(refusal);
          return refusal;
        } catch (error) {
          this.report("authenticate", error);
          return { status: 500 };
        }
      }),
    };
  }

  /** Calls `take` for a channel, and returns its result; the channel is closed if `take` throws or rejects. */
  hand(channel: PausableChannel, option: string, take: () => unknown): unknown {
    const fail = (error: unknown): void => {
      this.report(option, error);
      channel.close(1011);
    };
    try {
      const taken = take();
      if (isPromise(taken)) taken.then(undefined, fail);
      return taken;
    } catch (error) {
      fail(error);
      return undefined;
    }
  }

  /** Logs that a callback has thrown, or returned an unusable value. */
  report(option: string, error: unknown): void {
    const message = `Cannot serve a client: option "${option}" of ${this.#where()} failed; mend it`;
    this.#log.write({ level: "error", code: "callback-failed", message, error }, option);
  }
}

// Any other value is meant to refuse the client.
function checkRefusal(refusal: UpgradeRefusal): void {
  const { status, headers = [] } = Object(refusal) as UpgradeRefusal;
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    throw new TypeError(
      `Cannot refuse WebSocket: ${describeKind(refusal)} is neither undefined nor has a status of 400 to 599`,
    );
  }
  encodeRefusal(status, "", headers);
}
