import { createHash } from 'node:crypto';
import type { ObjectStatus, StatusCondition } from '../../model/mesh.ts';
import {
  type ParentStatus,
  type ProgrammedTeller,
  type Programming,
  refusalsShownMax,
  type Tally,
  verdict,
} from './programmed.ts';

/** What one replica of the control plane knows of its own proxies: those of the others are connected to the others. */
export interface ReplicaReport {
  /** Fingerprint of the trust bundle that it tells its proxies. */
  readonly bundle: string;
  /** How many of its proxies don't hold that bundle yet, and the first of them. */
  readonly bundleWaiting: number;
  readonly bundleWaitingPods: readonly string[];
  /** By object (`HTTPRoute shop/catalog`): the generation it has taken in, and by parent what its proxies say. */
  readonly objects: Readonly<Record<string, ReportedObject>>;
}

interface ReportedObject {
  readonly generation: number;
  /** Parents that concern none of its proxies are left out. */
  readonly parents?: Readonly<Record<string, Tally>>;
}

/** Another replica: its last report, undefined where it could not be read. */
export interface Peer {
  readonly name: string;
  readonly report: ReplicaReport | undefined;
}

export function bundleFingerprint(bundlePem: string): string {
  return createHash('sha256').update(bundlePem).digest('hex').slice(0, 32);
}

/** What this replica's proxies say of every object. */
export function tallies(
  statuses: readonly ObjectStatus[],
  programming: Programming,
): ReplicaReport['objects'] {
  const objects: Record<string, ReportedObject> = {};
  for (const status of statuses) {
    const parents: Record<string, Tally> = {};
    for (const parent of status.parents) {
      const tally = programming.tally(status, parent);
      if (tally !== undefined && tally.concerned > 0) parents[parent.ref] = tally;
    }
    const { generation } = status;
    objects[keyOf(status)] = Object.keys(parents).length === 0 ? { generation } : { generation, parents };
  }
  return objects;
}

/**
 * `Programmed` over the proxies of all replicas. One that has not taken in an object's generation yet, or can't be read,
 * leaves it open.
 */
export function meshWide(own: Programming, peers: readonly Peer[]): ProgrammedTeller {
  return {
    condition(status, parent) {
      const mine = own.tally(status, parent);
      if (mine === undefined) return undefined;
      const all = [mine];
      let behind: string | undefined;
      for (const { name, report } of peers) {
        const theirs = report?.objects[keyOf(status)];
        if (theirs?.generation !== status.generation) behind ??= name;
        else all.push(...tallyOf(theirs, parent));
      }
      const total = sum(all);
      return behind === undefined || total.refused > 0 ? verdict(total) : notYet(behind);
    },
  };
}

function tallyOf({ parents }: ReportedObject, { ref }: ParentStatus): readonly Tally[] {
  const tally = parents?.[ref];
  return tally === undefined ? [] : [tally];
}

function sum(all: readonly Tally[]): Tally {
  const total = (count: (tally: Tally) => number) => all.reduce((so, tally) => so + count(tally), 0);
  return {
    concerned: total(({ concerned }) => concerned),
    waiting: total(({ waiting }) => waiting),
    refused: total(({ refused }) => refused),
    refusals: all.flatMap(({ refusals }) => refusals).slice(0, refusalsShownMax),
  };
}

function notYet(replica: string): StatusCondition {
  const message = `replica ${replica} of the control plane has not told yet what its proxies hold`;
  return { type: 'Programmed', status: 'Unknown', reason: 'Pending', message };
}

function keyOf({ kind, namespace, name }: ObjectStatus): string {
  return `${kind} ${namespace}/${name}`;
}
