import { statSync } from 'node:fs';
import { successAnswer } from './answers.ts';
import type { CniCall } from './call.ts';
import { CNI_CODES, CniError, type CniHandler } from './handler.ts';
import { writeResult } from './versions.ts';

type Ordered = Exclude<CniCall, { readonly command: 'VERSION' }>;

/** Hands a call to the node and gives the answer's bytes. Throws what the node throws. */
export async function dispatch(
  handler: CniHandler,
  call: Ordered,
  signal: AbortSignal,
  nodeNetns: string,
): Promise<Buffer> {
  switch (call.command) {
    case 'ADD': {
      checkNetns(call.netns, nodeNetns);
      const result = await handler.add({ ...call, signal });
      if (result !== undefined) {
        const dns = result.dns ?? call.dns;
        return successAnswer(writeResult(call.version, dns === undefined ? result : { ...result, dns }));
      }
      if (call.rawPrevResult === undefined)
        throw new CniError(CNI_CODES.internal, 'the agent made an attachment and has no result');
      return successAnswer({ ...call.rawPrevResult, cniVersion: call.version });
    }
    case 'DEL':
      await handler.del({ ...call, signal });
      return successAnswer();
    case 'CHECK':
      checkNetns(call.netns, nodeNetns);
      await handler.check({ ...call, signal }, call.prevResult);
      return successAnswer();
    case 'GC':
      if (call.valid !== undefined) await handler.gc(call.network, call.valid, signal);
      return successAnswer();
    case 'STATUS':
      await handler.status(signal);
      return successAnswer();
    default:
      return call satisfies never;
  }
}

/** A pod that would be given the node's own devices, or that is gone, is refused before anything is made for it. */
function checkNetns(netns: string, nodeNetns: string): void {
  const theirs = statSync(netns, { throwIfNoEntry: false });
  if (theirs === undefined)
    throw new CniError(
      CNI_CODES.unknownContainer,
      `CNI_NETNS ${netns} does not exist`,
      'the container is gone; nothing was made for it',
    );
  const ours = statSync(nodeNetns, { throwIfNoEntry: false });
  if (ours !== undefined && ours.dev === theirs.dev && ours.ino === theirs.ino)
    throw new CniError(
      CNI_CODES.invalidEnvironment,
      `CNI_NETNS ${netns} is the node's own network namespace`,
      'pods with hostNetwork get no attachment',
    );
}
