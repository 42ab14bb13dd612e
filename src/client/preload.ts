/**
 * Loads at once all modules that calls load at first use. Loading takes turns of the event loop, for which a test with a fake
 * clock does not wait; after a preload everything resolves within the promise jobs of the call.
 *
 * @module
 */

import { part } from "../base/wait.ts";
import * as mistakes from "../codec/mistakes.ts";
import * as redirects from "../recovery/redirects.ts";
import * as sockets from "../transport/socket/dial.ts";
import * as logTexts from "./log_texts.ts";
import * as batch from "./receive_batch.ts";
import * as request from "./request.ts";
import * as resumeLinks from "./resume_links.ts";
import * as sendAll from "./send_all.ts";
import * as serve from "./serve.ts";
import * as stream from "./stream.ts";
import * as streams from "./streamed_payload.ts";
import * as transaction from "./transaction.ts";

/**
 * Loads the lazy parts of connections, senders and receivers for a client in the same process.
 *
 * The names are those that `part` is called with.
 */
export async function preload(): Promise<void> {
  const loaded = {
    batch,
    logTexts,
    mistakes,
    redirects,
    request,
    resumeLinks,
    sendAll,
    serve,
    sockets,
    stream,
    streams,
    transaction,
  };
  // Not above: it loads some of them itself when it is used.
  await part("receiving", () => import("./subscription.ts"));
  for (const [name, exports] of Object.entries(loaded)) {
    await part(name, () => Promise.resolve<unknown>(exports));
  }
}
