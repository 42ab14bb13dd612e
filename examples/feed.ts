// A browser page (feed.html) that shows messages as they come, until the user leaves it. This build loads little at first:
// npx esbuild examples/feed.ts --bundle --splitting --minify --format=esm --target=es2022 --outdir=examples/dist
import { connect } from "@webamqp/amqp";

/** Shows each message of a topic. A lost connection is reopened automatically; a failed first attempt is repeated, too. */
export async function feed(
  url: string,
  topic: string,
  show: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const connection = await connect(url, { signal, reconnect: { initial: true } });
  try {
    for await (const delivery of connection.receiver(topic).values({ signal })) show(delivery.message.text());
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await connection.close();
  }
}
