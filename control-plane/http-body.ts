import type { IncomingMessage } from 'node:http';

/**
 * A request's whole body; undefined where it is larger than `bytesMax`. The connection stays open even then, so that the
 * refusal reaches the client: leaving a request's own iterator would destroy it.
 */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
