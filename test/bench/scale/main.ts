// npm run bench:scale: what a control plane costs with a thousand sidecars, and how fast it tells them.
import { existsSync } from 'node:fs';
import { setPriority } from 'node:os';
import { parseArgs } from 'node:util';
import { bundlesAreFresh, programFile } from '../../../cli/local/bundles.ts';
import { messageOf } from '../../../common/errors.ts';
import { serveApi } from '../../support/kubernetes/http.ts';
import { startClusterControlPlane } from '../kubernetes-control-plane.ts';
import { ROOT } from '../mesh.ts';
import { freePort } from '../ports.ts';
import { machine } from '../report.ts';
import { seats } from '../seats.ts';
import { Fleet } from './fleet.ts';
import { measure, type Stage } from './measures.ts';
import { makeWorld } from './world.ts';

const FLEET_PROCESSES = 2;
const SIDECARS_MAX = 3_000;

const USAGE = `Usage: npm run bench:scale -- [--sidecars N] [--services N] [--pods N] [--changes N] [--slow-seconds N] [--program FILE]
  --sidecars N       simulated sidecars (default 1000, at most ${SIDECARS_MAX}: each takes two file descriptors)
  --services N       Services (default 1000)
  --pods N           Pods behind them (default 2000)
  --changes N        endpoint changes in a row, between two looks at memory (default 1000)
  --slow-seconds N   how long some sidecars read nothing; 0 leaves this out (default 60)
  --program FILE     main module of the control plane (default: the release bundle, or source where that is older)
  --priority N       of all processes of the run, from -20, which goes first, to 19 (default 0)
  --node-arg ARG     of the Node that runs it, as --cpu-prof; may be given again
`;

const FLAGS = {
  sidecars: { type: 'string', default: '1000' },
  services: { type: 'string', default: '1000' },
  pods: { type: 'string', default: '2000' },
  changes: { type: 'string', default: '1000' },
  'slow-seconds': { type: 'string', default: '60' },
  priority: { type: 'string', default: '0' },
  program: { type: 'string' },
  'node-arg': { type: 'string', multiple: true },
  help: { type: 'boolean', default: false },
} as const;

function readOptions() {
  const { values } = parseArgs({ options: FLAGS });
  return {
    help: values.help,
    size: {
      sidecars: whole('sidecars', values.sidecars, 1, SIDECARS_MAX),
      services: whole('services', values.services, 2, 5_000),
      pods: whole('pods', values.pods, 2, 100_000),
    },
    changes: whole('changes', values.changes, 1, 100_000),
    slowSeconds: whole('slow-seconds', values['slow-seconds'], 0, 3_600),
    priority: whole('priority', values.priority, -20, 19),
    program: values.program,
    nodeArgs: values['node-arg'] ?? [],
  };
}

async function main(): Promise<void> {
  const { help, size, changes, slowSeconds, priority, nodeArgs, ...options } = readOptions();
  if (help) {
    process.stdout.write(USAGE);
    return;
  }
  const bundled = bundlesAreFresh(ROOT);
  const program = options.program ?? programFile(ROOT, 'control-plane', bundled);
  if (!existsSync(program)) throw new Error(`--program: ${program} is not there`);

  // Whatever is started from here on inherits it.
  setPriority(priority);
  const places = seats();
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  say(`${size.sidecars} sidecars, ${size.services} Services, ${size.pods} Pods; ${program}`);
  const world = makeWorld(size);
  const http = await serveApi(world.api);
  const fleet = new Fleet(FLEET_PROCESSES);
  const xdsPort = await freePort('127.0.0.1');
  const start = () =>
    startClusterControlPlane({ program, server: http.server, seat: places.proxy, xdsPort, nodeArgs });
  const stage: Stage = {
    ...{ world, fleet, slowSeconds, changes, controlPlane: await start() },
    async replace() {
      // A profile is written at an orderly end only.
      if (nodeArgs.length === 0) process.kill(this.controlPlane.pid, 'SIGKILL');
      await this.controlPlane.stop();
      this.controlPlane = await start();
    },
  };
  try {
    const figures = await measure(stage, say);
    const from = options.program ?? (bundled ? 'release bundle' : 'source');
    const result = { ...size, priority, machine: machine(places), program: from, figures };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } finally {
    await fleet.stop();
    await stage.controlPlane.stop();
    await http.close();
  }
}

function whole(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`--${flag} is a whole number from ${min} to ${max}, not ${text}`);
}

await main().catch((thrown: unknown) => {
  process.stderr.write(`${messageOf(thrown)}\n${USAGE}`);
  process.exitCode = 1;
});
