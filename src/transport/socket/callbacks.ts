/**
 * Callbacks of a program that serves: what one of them throws concerns the client that it was called for, and the log.
 *
 * @module
 */

import type { Log } from "../../base/log.ts";
import { describeKind } from "../../base/options.ts";
import { encodeRefusal } from "../websocket/upgrade.ts";
import type { HttpServiceOptions, UpgradeRefusal } from "./listen_http.ts";
import type { PausableChannel } from "./socket.ts";

/** Calls what a program has given to decide on clients, whose own words it may stumble over, and to take them. */
export class Callbacks {
  readonly #log: Log;
  readonly #where: () => string;

  /** Tells `log` of what fails; `where` names the server. */
  constructor(log: Log, where: () => string) {
    this.#log = log;
    this.#where = where;
  }

  /** The same options with callbacks that throw nothing: a client on which one cannot decide is kept out. */
  guard(options: HttpServiceOptions): HttpServiceOptions {
    const { origins, paths, authenticate } = options;
    const decides = (option: string, decide: (text: string) => boolean) => (text: string): boolean => {
      try {
        // A promise is no yes.
        return decide(text) === true;
      } catch (error) {
        this.tell(option, error);
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
          this.tell("authenticate", error);
          return { status: 500 };
        }
      }),
    };
  }

  /** Hands over a channel by `take`, and gives what that gives; the channel ends if it throws, or rejects. */
  hand(channel: PausableChannel, option: string, take: () => unknown): unknown {
    const fail = (error: unknown): void => {
      this.tell(option, error);
      channel.close(1011);
    };
    try {
      const taken = take();
      if (taken instanceof Promise) taken.catch(fail);
      return taken;
    } catch (error) {
      fail(error);
      return undefined;
    }
  }

  /** Tells that an option has thrown, or given what cannot be used. */
  tell(option: string, error: unknown): void {
    const message = `Cannot serve a client: option "${option}" of ${this.#where()} failed; mend it`;
    this.#log.tell({ level: "error", code: "callback-failed", message, error }, option);
  }
}

// Whatever else it gives is meant to keep the client out.
function checkRefusal(refusal: UpgradeRefusal): void {
  const { status, headers = [] } = Object(refusal) as UpgradeRefusal;
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    throw new TypeError(
      `Cannot refuse WebSocket: ${describeKind(refusal)} is neither undefined nor has a status of 400 to 599`,
    );
  }
  encodeRefusal(status, "", headers);
}
