import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../../common/clock.ts';
import { messageOf } from '../../../common/errors.ts';
import type { Logger } from '../../../common/log.ts';
import { type CniCall, readCall } from './call.ts';
import { readFrame } from './frame.ts';
import type { CniAttachment } from './handler.ts';

/** As many as the plugin writes at most. */
const deletedFilesMax = 4096;
/** A file that a plugin began so long ago is one that it will not finish. */
const DRAFT_MS = 60_000;

export type DelCall = CniCall & { readonly command: 'DEL' };

export interface QueuedDeletion {
  readonly path: string;
  readonly call: DelCall;
}

/** DELs that came while no agent ran: files beside the socket that heddle-cni writes (cni/plugin/deleted.h). */
export class DeletedQueue {
  readonly #directory: string;
  readonly #log: Logger;
  readonly #clock: Clock;

  constructor(directory: string, clock: Clock, log: Logger) {
    this.#directory = directory;
    this.#clock = clock;
    this.#log = log;
  }

  /** What waits there. Files that hold no DEL are removed and reported. */
  all(): readonly QueuedDeletion[] {
    let names: readonly string[];
    try {
      names = readdirSync(this.#directory);
    } catch {
      return [];
    }
    const found: QueuedDeletion[] = [];
    for (const name of names.slice(0, deletedFilesMax)) {
      const path = join(this.#directory, name);
      if (name.startsWith('.draft-')) this.#removeIfOld(path);
      else {
        const call = this.#read(path);
        if (call !== undefined) found.push({ path, call });
      }
    }
    return found;
  }

  /** The DEL that waits for one attachment. */
  find({ containerId, ifname }: CniAttachment): QueuedDeletion | undefined {
    const path = join(this.#directory, `${containerId}@${ifname}`);
    if (!existsSync(path)) return undefined;
    const call = this.#read(path);
    return call === undefined ? undefined : { path, call };
  }

  done({ path }: QueuedDeletion): void {
    rmSync(path, { force: true });
  }

  #read(path: string): DelCall | undefined {
    try {
      const call = readCall(readFrame(readFileSync(path)));
      if (call.command === 'DEL') return call;
      this.#log.error('a queued deletion is none', { path, command: call.command });
    } catch (thrown) {
      // Another scan or an ADD of the same attachment was faster.
      if (!existsSync(path)) return undefined;
      this.#log.error('a queued deletion is unreadable', { path, error: messageOf(thrown) });
    }
    rmSync(path, { force: true });
    return undefined;
  }

  #removeIfOld(path: string): void {
    const status = statSync(path, { throwIfNoEntry: false });
    if (status !== undefined && status.mtimeMs < this.#clock.wallMs() - DRAFT_MS)
      rmSync(path, { force: true });
  }
}
