import type { TransportName } from '../../../cni/maps/constants.ts';
import type { KubeObject } from '../../../model/objects.ts';

export interface CasePort {
  readonly protocol: TransportName;
  readonly port: number;
}

/** The ports worth asking at: those that pods of `cluster.ts` name, and their neighbours. */
export const CASE_PORTS: readonly CasePort[] = [
  { protocol: 'TCP', port: 80 },
  { protocol: 'TCP', port: 81 },
  { protocol: 'TCP', port: 8080 },
  { protocol: 'UDP', port: 80 },
  { protocol: 'UDP', port: 81 },
  { protocol: 'SCTP', port: 8080 },
];

/** Policies over the pods of `cluster.ts`, and the ports at which they are worth asking. */
export interface TruthCase {
  readonly name: string;
  readonly policies: readonly KubeObject[];
  readonly ports: readonly CasePort[];
}

/** One line of the truth table's answers. */
export interface CaseProbe extends CasePort {
  readonly from: string;
  readonly to: string;
}

/** Every sender to every receiver of its family but itself, at every port, in the order that the oracle answers. */
export function* probesOf(
  senders: readonly string[],
  receivers: readonly string[],
  ports: readonly CasePort[],
): Generator<CaseProbe> {
  for (const from of senders) {
    for (const to of receivers) {
      if (from === to || from.includes(':') !== to.includes(':')) continue;
      for (const { protocol, port } of ports) yield { from, to, protocol, port };
    }
  }
}
