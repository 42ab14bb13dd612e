// What a browser page shows as it happens, until it is left; feed.html is the page. Built so that it loads little at first:
// npx esbuild examples/feed.ts --bundle --splitting --minify --format=esm --target=es2022 --outdir=examples/dist
import { connect } from "@webamqp/amqp";

/** Shows each message of a topic. The connection comes back by itself; a first attempt that fails is made again, too. */
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
