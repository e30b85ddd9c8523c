import { join } from 'node:path';
import { type Program, startProgram } from '../../common/program.ts';
import { inEnvironment } from '../../sources/flags.ts';
import { cgroupFolder } from './cgroup-root.ts';
import { LocalPods } from './local-pods.ts';
import { NodeGround } from './node-ground.ts';
import { type AgentOptions, parseOptions, USAGE } from './options.ts';
import { refuseBesideAgent } from './sole-agent.ts';
import { type Agent, startAgent } from './start.ts';
import { uninstallNode } from './uninstall.ts';

const agent: Program<AgentOptions, Agent> = {
  ...{ name: 'heddle-cni-agent', usage: USAGE, failed: 'the node agent failed' },
  stops: 'the node agent ends; the pod network goes on',
  parse: parseOptions,
  async start(given, deps) {
    const options = { ...given, cgroup: cgroupFolder(given.cgroup) };
    if (!options.uninstall) return startAgent(inEnvironment(options, process.env), deps);
    refuseBesideAgent(options.stateDirectory);
    const localPods = new LocalPods(join(options.stateDirectory, 'pods'), deps.log).all();
    const { removed, failed } = uninstallNode({ options, ground: new NodeGround(options, deps), localPods });
    for (const what of removed) process.stdout.write(`removed ${what}\n`);
    for (const what of failed) process.stderr.write(`${agent.name}: not removed: ${what}\n`);
    process.exit(failed.length > 0 ? 1 : 0);
  },
};

await startProgram(agent, process.argv.slice(2));
