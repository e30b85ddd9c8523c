import { PORTS } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import { type ClusterMesh, controlPlanePods } from '../client/cluster-mesh.ts';
import { forwardDashboard } from '../client/forward.ts';
import { ANY_MESH_OPTIONS, withMesh } from '../client/which.ts';
import { type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';

export const dashboard: CommandSpec = {
  name: 'dashboard',
  summary: "print the dashboard's address",
  usage: 'dashboard [--context NAME] [--port N]',
  description:
    'Prints the address of the dashboard, to be opened in a browser on this machine. On Kubernetes it carries the dashboard\nof a ready control plane to a port of 127.0.0.1, as kubectl port-forward does, until Ctrl-C.',
  examples: [
    'heddle dashboard',
    'xdg-open "$(heddle dashboard)"',
    'heddle dashboard --context prod --port 9000',
  ],
  options: {
    ...ANY_MESH_OPTIONS,
    port: {
      type: 'string',
      value: 'N',
      help: `port of this machine, for Kubernetes (default ${PORTS.dashboard}, or the next free one)`,
    },
  },
  positionalsMax: 0,
  async run(input, context) {
    const port = input.number('port', 0, 65_535);
    return withMesh(input, context, async (mesh) => {
      if (mesh.kind === 'kubernetes') return forward(mesh, port ?? PORTS.dashboard, context);
      if (port !== undefined)
        throw usageError(
          '--port is for a mesh on Kubernetes: "heddle up --dashboard-port N" chooses the port here',
        );
      const { file } = mesh;
      if (file.dashboard === '') throw new HeddleError('unreachable', 'the control plane is still starting');
      context.out(`${file.dashboard}\n`);
      return EXIT.done;
    });
  },
};

async function forward(mesh: ClusterMesh, wanted: number, context: CliContext): Promise<ExitCode> {
  const interrupted = Promise.withResolvers<void>();
  const quiet = context.onInterrupt(() => interrupted.resolve());
  try {
    // Whoever can't be reached is told of now, not by the browser.
    await controlPlanePods(mesh);
    let told = '';
    const say = (text: string) => {
      if (text !== told) context.err(`heddle dashboard: ${text}\n`);
      told = text;
    };
    const { port, close } = await forwardDashboard({
      ...{ link: mesh, port: wanted, clock: context.clock },
      onPod: (pod) => say(`answered by pod ${pod}`),
      onFailure: (message) => say(message),
    });
    if (port !== wanted && wanted !== 0) say(`port ${wanted} is taken`);
    context.out(`http://127.0.0.1:${port}\n`);
    context.err(`The dashboard ${mesh.where}; Ctrl-C ends it.\n`);
    await interrupted.promise;
    await close();
    return EXIT.done;
  } finally {
    quiet();
  }
}
