import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import http from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { waitingRecordsMax } from '../../cni/agent/admin/follower.ts';
import { ADMIN_LIMITS, type AdminServer, startAdmin } from '../../cni/agent/admin/server.ts';
import { systemClock } from '../../common/clock.ts';
import { followDrops } from '../../common/drop-stream.ts';
import { messageOf } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import type { DropRecord } from '../../common/pod-network.ts';
import { startDropFeed } from '../../control-plane/drops/feed.ts';
import { AgentWorld, dropBytes } from '../support/agent-world.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

const deadlineMs = 10_000;
/** So that a test drops as fast as it likes. */
const LIMITS = { dropsKeptMax: 100, recordsPerSecondMax: 1_000_000, foldMs: 1_000 };

let folder: string;
let socket: string;
let world: AgentWorld;
let admin: AdminServer;
let shutdowns: number;
const start = (limits = ADMIN_LIMITS) =>
  startAdmin({
    socket,
    limits,
    view: world,
    clock: systemClock,
    log: silentLogger,
    shutdown: () => shutdowns++,
  });
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-admin-'));
  socket = join(folder, 'admin.sock');
  world = new AgentWorld(systemClock, [], LIMITS);
  shutdowns = 0;
  admin = await start();
});
afterEach(async () => {
  await admin.close();
  world.drops.close();
  rmSync(folder, { recursive: true, force: true });
});

const drop = (port: number) => world.drops.take(dropBytes(systemClock, { destinationPort: port }));

async function ask(path: string, method = 'GET'): Promise<{ status: number; body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const call = http.request({ socketPath: socket, path, method, agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response) text += String(chunk);
      resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
    });
    call.on('error', reject);
    call.end();
  });
}

test('the socket is for root alone, and every question is answered', async () => {
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  for (const path of ['endpoints', 'services', 'policy', 'capture', 'drops']) {
    const { status, body } = await ask(`/${path}`);
    assert.deepEqual([status, Array.isArray(body.items)], [200, true], path);
  }
  assert.equal((await ask('/status?kernel=1')).body.node, 'n1');
  const verdict = await ask('/policy/verdict?from=shop/web&to=shop/db&port=80');
  assert.equal(verdict.body.allowed, true);
});

const REFUSED: readonly (readonly [string, string, string, number])[] = [
  ['a path that nobody serves', 'GET', '/nothing', 404],
  ['a method that changes nothing', 'DELETE', '/status', 405],
  ['an uninstall that is only looked at', 'GET', '/uninstall', 405],
  ['a verdict without ends', 'GET', '/policy/verdict', 400],
  ['a reason that there is none of', 'GET', '/drops?reason=bad-luck', 400],
  ['a time that is none', 'GET', '/drops?since=yesterday', 400],
  ['more than is kept', 'GET', '/drops?tail=10001', 400],
  ['a path that is too long', 'GET', `/${'x'.repeat(ADMIN_LIMITS.urlBytesMax)}`, 400],
];
for (const [what, method, path, status] of REFUSED)
  test(`${what} is refused with a message`, async () => {
    const { status: answered, body } = await ask(path, method);
    assert.equal(answered, status);
    assert.ok(typeof body.error === 'string' && body.error.length > 0);
  });

test('drops are chosen by pod, namespace, reason, time and number', async () => {
  for (const port of [1, 2, 3]) drop(port);
  const count = async (query: string) => ((await ask(`/drops?${query}`)).body.items as unknown[]).length;
  const soon = new Date(Date.now() + 60_000).toISOString();
  assert.deepEqual(
    await Promise.all(
      [
        ...['', 'tail=2', 'tail=0', 'pod=shop/db', 'pod=shop/far', 'pod=shop/web', 'namespace=shop'],
        ...['namespace=sho', 'reason=policy', 'reason=bypass', `since=${soon}`],
      ].map(count),
    ),
    [3, 2, 0, 3, 3, 0, 3, 0, 3, 0, 0],
  );
});

test('an uninstall is refused while pods are attached, unless it is forced; then the agent ends', async () => {
  const refused = await ask('/uninstall', 'POST');
  assert.equal(refused.status, 409);
  assert.match(String(refused.body.error), /2 pods are attached.*shop\/web, shop\/db.*--force/);
  assert.deepEqual([world.uninstalls, shutdowns], [0, 0]);
  const forced = await ask('/uninstall?force=1', 'POST');
  assert.deepEqual([forced.status, forced.body.removed, world.uninstalls], [200, ['device heddle_vxlan'], 1]);
  await eventually(() => shutdowns === 1, { deadlineMs, what: 'the agent is told to end' });
});

test('a newer agent takes the socket over, and the older one leaves it to it', async () => {
  const older = admin;
  admin = await start();
  await older.close();
  assert.equal((await ask('/status')).status, 200);
});

/** Follows the drops; ends with the test. */
function following(query = '') {
  const ending = new AbortController();
  const records: DropRecord[] = [];
  const log: string[] = [];
  const done = followDrops({
    ...{ socket, query: new URLSearchParams(query), clock: systemClock, signal: ending.signal },
    connected: () => log.push('connected'),
    record: (record) => records.push(record),
    disconnected: (thrown) => log.push(thrown === undefined ? 'ended' : messageOf(thrown)),
  });
  const end = async () => {
    ending.abort();
    await done;
  };
  return { records, log, ports: () => records.map(({ to }) => to.port), end };
}

test('a follower gets what is kept, then each drop once, also through a restart of the agent', async () => {
  drop(1);
  const follower = following();
  await eventually(() => follower.records.length === 1, { deadlineMs, what: 'the kept drop is sent' });
  drop(2);
  await eventually(() => follower.records.length === 2, { deadlineMs, what: 'the new drop is sent' });
  await admin.close();
  drop(3);
  admin = await start();
  await eventually(() => follower.records.length >= 3, { deadlineMs, what: 'what came meanwhile is sent' });
  drop(4);
  await eventually(() => follower.records.length >= 4, { deadlineMs, what: 'it goes on' });
  assert.deepEqual(follower.ports(), [1, 2, 3, 4]);
  assert.ok(follower.log.includes('ended'));
  await follower.end();
});

test('a follower that does not read is cut off, and costs no more than its limit', async () => {
  const client = connect(socket);
  client.write('GET /drops?follow=1 HTTP/1.1\r\nHost: agent\r\n\r\n');
  client.pause();
  await eventually(() => client.bytesRead > 0 || client.readableLength > 0 || client.readyState === 'open', {
    deadlineMs,
    what: 'it is connected',
  });
  let closed = false;
  client.on('error', () => undefined);
  client.on('close', () => {
    closed = true;
  });
  // The kernel's buffers take some, then the queue fills.
  let sent = 0;
  await eventually(
    async () => {
      for (let more = 0; more < 5_000; more++) drop((sent++ % 60_000) + 1);
      return sent > waitingRecordsMax * 3;
    },
    { deadlineMs: 60_000, what: 'enough is dropped' },
  );
  client.resume();
  await eventually(() => closed, { deadlineMs, what: 'it is cut off' });
});

test('so many may follow and no more', async () => {
  const all = Array.from({ length: ADMIN_LIMITS.followersMax }, () => following());
  const connected = () => all.every(({ log }) => log.includes('connected'));
  await eventually(connected, { deadlineMs, what: 'all are connected' });
  const { status, body } = await ask('/drops?follow=1');
  assert.equal(status, 503);
  assert.match(String(body.error), new RegExp(`at most ${ADMIN_LIMITS.followersMax}`));
  await Promise.all(all.map(({ end }) => end()));
  const again = following();
  await eventually(() => again.log.includes('connected'), { deadlineMs, what: 'there is room again' });
  await again.end();
});

test('the control plane gathers the drops of all nodes by flow, and says whom it can not ask', async () => {
  const feed = startDropFeed({
    ...{ sockets: [socket, join(folder, 'absent.sock')], clock: systemClock, log: silentLogger },
  });
  let changes = 0;
  const stop = feed.onChange(() => changes++);
  drop(7);
  drop(8);
  drop(8);
  await eventually(() => feed.flows().reduce((sum, { packets }) => sum + packets, 0) === 3, {
    deadlineMs,
    what: 'the drops arrive, those within a second as well',
  });
  assert.deepEqual(
    feed
      .flows()
      .map(({ to, packets }) => [to.port, packets])
      .toSorted(),
    [
      [7, 1],
      [8, 2],
    ],
  );
  assert.deepEqual(feed.agents(), { connected: 1, all: 2 });
  assert.ok(changes >= 3);
  stop();
  await feed.close();
});

/** A connection of somebody who means no good. */
function stranger() {
  const client = connect(socket);
  const state = { text: '', closed: false };
  client.on('data', (chunk: Buffer) => {
    state.text += String(chunk);
  });
  client.on('error', () => undefined);
  client.on('close', () => {
    state.closed = true;
  });
  return { client, state };
}

test('a connection too many is closed, and one that asks nothing ends', async () => {
  await admin.close();
  admin = await start({ ...ADMIN_LIMITS, connectionsMax: 2, requestMs: 400 });
  const all = [stranger(), stranger(), stranger()];
  await eventually(() => all.filter(({ state }) => state.closed).length === 1, {
    deadlineMs,
    what: 'the third is closed',
  });
  for (const { client } of all) client.write('GET /status HTTP/1.1\r\nHost: ');
  await eventually(() => all.every(({ state }) => state.closed), {
    deadlineMs,
    what: 'half a question ends',
  });
  assert.equal((await ask('/status')).status, 200);
});

test('a head that is too long is refused', async () => {
  const { client, state } = stranger();
  client.write(`GET /status HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(ADMIN_LIMITS.headBytesMax)}\r\n\r\n`);
  await eventually(() => state.closed, { deadlineMs, what: 'it is answered' });
  assert.match(state.text, /^HTTP\/1\.1 431 /);
});

test('the end of the agent waits for nobody who does not read', async () => {
  await admin.close();
  admin = await start({ ...ADMIN_LIMITS, endMs: 50 });
  for (let port = 1; port <= LIMITS.dropsKeptMax; port++) drop(port);
  const client = connect(socket);
  client.on('error', () => undefined);
  client.write('GET /drops?follow=1 HTTP/1.1\r\nHost: agent\r\n\r\n');
  await once(client, 'readable');
  for (let port = 1; port <= 10_000; port++) drop(port);
  const startMs = performance.now();
  await admin.close();
  assert.ok(performance.now() - startMs < 5_000);
  client.destroy();
  admin = await start();
});
