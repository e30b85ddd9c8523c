import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { after, test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import { ManifestFolder, service, startDnsProcess } from './dns-process.ts';

leakCheck();
const folder = new ManifestFolder();
folder.write('web.yaml', [service('shop', 'web', { clusterIP: '10.96.1.1', ports: [{ port: 80 }] })]);
after(() => folder.remove());

const QUESTION = Buffer.from('\x03web\x04shop\x03svc\x07cluster\x05local\0\0\x01\0\x01', 'latin1');
/** A client waits this long for one answer; nothing is sent twice. */
const LOST_MS = 3_000;

/** Many clients, each with its own port, so that the kernel spreads them over both processes; no question is repeated. */
class Load {
  readonly #sockets: dgram.Socket[] = [];
  readonly #timer: NodeJS.Timeout;
  sent = 0;
  answered = 0;

  constructor(port: number, clients: number) {
    for (let index = 0; index < clients; index++) {
      const socket = dgram.createSocket('udp4');
      socket.on('message', () => this.answered++);
      // Nobody listens for a moment where one is killed; what counts is the number of answers.
      socket.on('error', () => {});
      this.#sockets.push(socket);
    }
    this.#timer = setInterval(() => {
      for (const socket of this.#sockets) {
        const header = Buffer.from([this.sent >> 8, this.sent, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        this.sent++;
        socket.send(Buffer.concat([header, QUESTION]), port, '127.0.0.1');
      }
    }, 5);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await eventually(() => this.answered >= this.sent, { deadlineMs: LOST_MS, what: 'all answers' }).catch(
      () => {},
    );
    await Promise.all(
      this.#sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
    );
  }
}

test('a new version listens, the old one drains, and no question is lost', async () => {
  let running = await startDnsProcess(folder);
  const load = new Load(running.port, 25);
  for (let round = 0; round < 3; round++) {
    const next = await startDnsProcess(folder, { port: running.port });
    const seen = load.sent;
    await eventually(() => load.sent > seen + 300, { deadlineMs: 10_000, what: 'load on both' });
    assert.equal(await running.stop(), 0);
    running = next;
  }
  await load.stop();
  await running.stop();
  assert.ok(load.sent > 1_000, `only ${load.sent} questions`);
  assert.equal(load.answered, load.sent);
});

test('when one of two is killed the other one goes on', async () => {
  const first = await startDnsProcess(folder);
  const second = await startDnsProcess(folder, { port: first.port });
  const load = new Load(first.port, 25);
  await eventually(() => load.answered > 500, { deadlineMs: 10_000, what: 'load on both' });
  await first.stop('SIGKILL');
  const [sent, answered] = [load.sent, load.answered];
  await eventually(() => load.sent > sent + 1_000, { deadlineMs: 10_000, what: 'load on the other' });
  await load.stop();
  await second.stop();
  assert.ok(load.sent - load.answered < 200, `${load.sent - load.answered} questions were lost`);
  assert.ok(load.answered > answered + 900);
});
