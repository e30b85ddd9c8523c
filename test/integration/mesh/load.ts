import { messageOf } from '../../../common/errors.ts';
import type { ClientResponse } from './client.ts';

export interface LoadResult {
  readonly responses: readonly { readonly atMs: number; readonly response: ClientResponse }[];
  readonly errors: readonly { readonly atMs: number; readonly message: string }[];
}

const requestsMax = 200_000;

/**
 * Runs `send` on `workers` lanes until stopped, with `pauseMs` after each answer: lanes that never rest would measure
 * how a starved machine shares itself out. Bounded by `requestsMax`.
 */
export function startLoad(
  send: () => Promise<ClientResponse>,
  workers: number,
  pauseMs: number,
): { stop(): Promise<LoadResult> } {
  const responses: { atMs: number; response: ClientResponse }[] = [];
  const errors: { atMs: number; message: string }[] = [];
  let running = true;
  const lane = async () => {
    while (running && responses.length + errors.length < requestsMax) {
      try {
        const response = await send();
        responses.push({ atMs: performance.now(), response });
      } catch (thrown) {
        errors.push({ atMs: performance.now(), message: messageOf(thrown) });
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  const lanes = Array.from({ length: workers }, lane);
  return {
    async stop() {
      running = false;
      await Promise.all(lanes);
      return { responses, errors };
    },
  };
}
