import assert from 'node:assert/strict';
import https from 'node:https';
import { after, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { leakCheck } from '../support/leak-check.ts';
import { meshCa } from '../support/mesh-ca.ts';
import { eventually } from '../support/wait.ts';
import { callWebhook, openConnection, reviewOf } from './webhook/caller.ts';
import { webhookServers } from './webhook/servers.ts';

leakCheck();

const POD = { kind: 'Pod', metadata: { name: 'web' }, spec: { containers: [{ name: 'app' }] } };

const servers = webhookServers();
const { ca, listen, start, newCredentials } = servers;
after(servers.close);

test('a caller that expects another name, or trusts another root, is not served', async () => {
  const server = await start();
  const wrongName = callWebhook(server.port, ca.rootPem, reviewOf(POD), {
    servername: 'other.heddle-system.svc',
  });
  await assert.rejects(wrongName, /altnames/i);
  await assert.rejects(
    callWebhook(server.port, meshCa(systemClock).rootPem, reviewOf(POD)),
    /certificate|signature/,
  );
});

test('before the first certificate and after its end, probes hear the reason and API servers ask nothing', async () => {
  const bare = await listen();
  const probe = async (path: string) => {
    const answer = await callWebhook(bare.port, undefined, '', { method: 'GET', path });
    return `${answer.status} ${answer.body}`;
  };
  assert.match(await probe('/readyz'), /^503 there is no certificate of the mesh yet: .*not answered yet/);
  bare.explain('no such host');
  assert.match(await probe('/readyz'), /^503 there is no certificate of the mesh yet: no such host/);
  assert.match(await probe('/livez'), /^200 live/);
  await assert.rejects(callWebhook(bare.port, ca.rootPem, reviewOf(POD)), /self-signed|certificate/);
  bare.use({ ...(await newCredentials()), expiresAtMs: systemClock.wallMs() - 1 });
  assert.match(await probe('/readyz'), /^503 the certificate has expired: no such host/);
  assert.match(await probe('/livez'), /^200 live/);
});

test('a new certificate serves new connections and cuts none that stands', async () => {
  const rotating = await start();
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  const serials = new Set<string>();
  const ask = async (over?: https.Agent) => {
    const options = over === undefined ? {} : { agent: over };
    assert.equal((await callWebhook(rotating.port, ca.rootPem, reviewOf(POD), options)).status, 200);
  };
  await ask(agent);
  for (let turn = 0; turn < 2; turn++) {
    const { socket, closed } = await openConnection(rotating.port, ca.rootPem);
    serials.add(socket.getPeerCertificate().serialNumber);
    socket.destroy();
    await closed;
    rotating.use(await newCredentials());
  }
  await ask(agent);
  await ask();
  assert.equal(serials.size, 2);
  const sockets = Object.values(agent.freeSockets).flat();
  assert.equal(sockets.length, 1, 'one connection carried both requests');
  agent.destroy();
});

test('certificates of ten seconds change under a caller who never stops connecting, without one failure', async () => {
  const lasting = await listen();
  const identity = servers.identity(10_000);
  const serials = new Set<string>();
  const first = new Promise<void>((resolve) => {
    identity.onChange((credentials) => {
      lasting.use(credentials);
      resolve();
    });
  });
  try {
    await first;
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    await eventually(
      async () => {
        // A new connection each time, as after a restart of the API server, and one that stands.
        const { socket, closed } = await openConnection(lasting.port, ca.rootPem);
        serials.add(socket.getPeerCertificate().serialNumber);
        socket.destroy();
        await closed;
        const answers = await Promise.all([
          callWebhook(lasting.port, ca.rootPem, reviewOf(POD)),
          callWebhook(lasting.port, ca.rootPem, reviewOf(POD), { agent }),
        ]);
        for (const answer of answers) assert.equal(answer.status, 200);
        return serials.size >= 3;
      },
      { deadlineMs: 30_000, what: 'two new certificates' },
    );
    agent.destroy();
  } finally {
    identity.close();
  }
});
