/**
 * What calls load when they are first used, all of it, to be loaded at once. Loading takes turns of the event loop, which a
 * test that moves a fake clock does not wait for: of what stands here everything is there within the promise jobs of the call.
 *
 * @module
 */

import { part } from "../base/wait.ts";
import * as sockets from "../transport/socket/dial.ts";
import * as complaints from "./complaints.ts";
import * as batch from "./receive_batch.ts";
import * as request from "./request.ts";
import * as resumeLinks from "./resume_links.ts";
import * as sendAll from "./send_all.ts";
import * as serve from "./serve.ts";
import * as stream from "./stream.ts";
import * as streams from "./streamed_payload.ts";
import * as transaction from "./transaction.ts";

/**
 * Has the parts of connections, senders and receivers that a client in the same process may need at hand.
 *
 * Their names are those by which they are asked for.
 */
export async function preload(): Promise<void> {
  const loaded = { batch, complaints, request, resumeLinks, sendAll, serve, sockets, stream, streams, transaction };
  for (const [name, exports] of Object.entries(loaded)) {
    await part(name, () => Promise.resolve<unknown>(exports));
  }
}
