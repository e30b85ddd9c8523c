import { release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { HeddleError } from '../../common/errors.ts';
import type { CliContext } from '../context.ts';
import { machineHost } from './host.ts';
import { ebpfNodesMax } from './layout.ts';
import type { NetworkKind } from './pod-network.ts';
import { ebpfObstacles, type MachineFacts, machineFacts } from './preflight.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export type NetworkChoice = NetworkKind | 'auto';

export interface ChosenNetwork {
  /** The machine that the eBPF pod network runs on; undefined: loopback mode. */
  readonly ebpf: MachineFacts | undefined;
  /** Why loopback mode was chosen, for the person who left the choice. */
  readonly because: string | undefined;
}

/** The machine as it is; another one in tests. */
export function thisMachine(context: CliContext): Promise<MachineFacts> {
  const path = context.env.PATH ?? '';
  return machineFacts({ host: machineHost(context.clock, path), path, release: release(), root: ROOT });
}

/** Fails with code `unsupported` where a kind was asked for that can't run here, and says why. */
export async function chooseNetwork(
  wanted: NetworkChoice,
  nodes: number,
  machine: () => Promise<MachineFacts>,
): Promise<ChosenNetwork> {
  if (wanted === 'loopback') return { ebpf: undefined, because: undefined };
  const facts = await machine();
  const obstacles = ebpfObstacles(facts);
  if (nodes > ebpfNodesMax) obstacles.push(`it has ${ebpfNodesMax} nodes at most`);
  if (obstacles.length === 0) return { ebpf: facts, because: undefined };
  if (wanted === 'auto') return { ebpf: undefined, because: obstacles.join('; ') };
  throw new HeddleError(
    'unsupported',
    `the eBPF pod network can't run here: ${obstacles.join('; ')} (--network loopback needs none of it)`,
  );
}
