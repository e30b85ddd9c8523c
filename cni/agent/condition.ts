import { existsSync } from 'node:fs';
import type { AgentCondition, ProgramStatus } from '../../common/pod-network.ts';
import { placeOf } from './attachments.ts';
import type { Ipam } from './ipam/ipam.ts';
import type { LocalPods } from './local-pods.ts';
import type { NodeGround } from './node-ground.ts';
import type { AgentOptions } from './options.ts';
import type { Pipeline } from './pipeline.ts';
import type { NodePrograms } from './programs/node-programs.ts';
import { podPin } from './programs/places.ts';
import type { Repair } from './repair.ts';

export interface ConditionInput {
  readonly options: AgentOptions;
  readonly version: string;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly programs: NodePrograms;
  readonly localPods: LocalPods;
  readonly ipam: Ipam | undefined;
  readonly pipeline: Pipeline;
  readonly repair: Repair;
  readonly ground: NodeGround;
}

/** How the agent and its node are doing, as far as only the agent knows. */
export function conditionOf(input: ConditionInput): AgentCondition {
  const { options, version, startedAt, ipam, pipeline, repair, ground } = input;
  const round = pipeline.last();
  const error = pipeline.lastError();
  const lastError = error ?? ground.lastError() ?? repair.lastError();
  return {
    ...{ node: options.node, mode: options.mode, version, startedAt },
    ready: round !== undefined && error === undefined,
    reason: error === undefined ? '' : error.message,
    ...{ mtu: ground.mtu(), addresses: ground.addresses(), blocks: ipam?.usage() ?? [] },
    lastRound:
      round === undefined
        ? undefined
        : { at: timeOf(round.at), seconds: round.seconds, changes: round.changes },
    driftRepaired: repair.repaired(),
    lastError: lastError === undefined ? undefined : { at: timeOf(lastError.at), message: lastError.message },
    programs: programsOf(input),
  };
}

function programsOf({ options, programs, localPods, ground }: ConditionInput): readonly ProgramStatus[] {
  const all = programs.places(ground.devices(), options.cgroup);
  const pods = localPods.standing().flatMap((pod) => {
    const place = placeOf(pod, ground.netns);
    const missing = new Set(programs.missingOfPod(place));
    return programs.namesAt(place).map((name) => {
      const pin = podPin(options.pins, pod.podId, name);
      const target = `pod ${pod.namespace}/${pod.name}`;
      return { name, target, pin: existsSync(pin) ? pin : '', attached: !missing.has(name) };
    });
  });
  return [...all, ...pods];
}

function timeOf(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
