import { AGENT_SOCKET, DIAL_EXIT } from '../../common/agent-dial.ts';
import { messageOf } from '../../common/errors.ts';
import { readFlags } from '../../common/flags.ts';
import { dialUnix } from '../../common/net.ts';

const NAME = 'heddle-cni-dial';
const USAGE = `Usage: ${NAME} [--admin-socket PATH]

Joins standard input and output to the socket of this node's agent, and ends with either. "heddle drops" and "heddle cni"
run it in the agent's pod, through the API server.

  --admin-socket PATH  (default ${AGENT_SOCKET})
`;

/** No agent has the socket: it is being started, or the node has none. */
const NO_AGENT: readonly unknown[] = ['ENOENT', 'ECONNREFUSED'];

function join(path: string): void {
  const socket = dialUnix(path);
  const { stdin, stdout } = process;
  const end = (code: number) => {
    process.exitCode ??= code;
    socket.destroy();
    // While it is open it keeps this process.
    stdin.destroy();
  };
  socket.on('error', (thrown: NodeJS.ErrnoException) => {
    process.stderr.write(`${NAME}: ${messageOf(thrown)}\n`);
    end(NO_AGENT.includes(thrown.code) ? DIAL_EXIT.noAgent : DIAL_EXIT.failed);
  });
  socket.once('close', () => end(DIAL_EXIT.done));
  // Whoever asked is gone: nothing is left to wait for, whatever the agent does.
  const gone = () => end(DIAL_EXIT.done);
  stdin.once('end', gone);
  stdin.on('error', gone);
  stdout.on('error', gone);
  stdin.pipe(socket, { end: false });
  socket.pipe(stdout, { end: false });
}

const flags = readFlags(process.argv.slice(2), {
  'admin-socket': { type: 'string' },
  help: { type: 'boolean' },
});
if (!flags.ok) {
  process.stderr.write(`${NAME}: ${flags.error.message}\n\n${USAGE}`);
  process.exitCode = DIAL_EXIT.usage;
} else if (flags.value === 'help') process.stdout.write(USAGE);
else join(flags.value['admin-socket'] ?? AGENT_SOCKET);
