import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../../common/clock.ts';
import { HeddleError } from '../../../common/errors.ts';
import { jsonLogger, silentLogger } from '../../../common/log.ts';
import { leakCheck } from '../../../test/support/leak-check.ts';
import { type AddressLease, type Ipam, openIpam } from './ipam.ts';

leakCheck();

let directory: string;
const open: Ipam[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-ipam-'));
});

afterEach(() => {
  for (const ipam of open.splice(0)) ipam.close();
  rmSync(directory, { recursive: true });
});

function ipamOf(blocks: readonly string[], found: readonly AddressLease[] = []): Ipam {
  const ipam = openIpam(directory, { blocks, found, log: silentLogger });
  open.push(ipam);
  return ipam;
}

const BLOCKS = ['10.244.1.0/24', 'fd10:244:0:1::/64'];
const web = { containerId: 'web', ifname: 'eth0' };
const api = { containerId: 'api', ifname: 'eth0' };

test('a pod has one address of each family, the same when it is asked for again', () => {
  const ipam = ipamOf(BLOCKS);
  assert.deepEqual(ipam.allocate(web), ['10.244.1.2', 'fd10:244:0:1::2']);
  assert.deepEqual(ipam.allocate(web), ['10.244.1.2', 'fd10:244:0:1::2']);
  assert.deepEqual(ipam.allocate({ ...web, ifname: 'eth1' }), ['10.244.1.3', 'fd10:244:0:1::3']);
  assert.deepEqual(ipam.usage()[0], { block: '10.244.1.0/24', usable: 253, given: 2 });
});

test('a new agent knows what the old one gave, and in which order it took back', () => {
  const first = ipamOf(['10.0.0.0/29']);
  for (const id of ['a', 'b', 'c', 'd', 'e']) first.allocate({ containerId: id, ifname: 'eth0' });
  for (const id of ['d', 'b']) first.release({ containerId: id, ifname: 'eth0' });
  const second = ipamOf(['10.0.0.0/29']);
  assert.deepEqual(
    second
      .leases()
      .map(({ containerId }) => containerId)
      .sort(),
    ['a', 'c', 'e'],
  );
  assert.deepEqual(second.allocate(web), ['10.0.0.5']);
  assert.deepEqual(second.allocate(api), ['10.0.0.3']);
});

test('where nothing is left the error says of how many, and nothing of another family is lost', () => {
  const ipam = ipamOf(['10.0.0.0/30', 'fd10::/64']);
  ipam.allocate(web);
  for (let round = 0; round < 3; round++)
    assert.throws(
      () => ipam.allocate(api),
      (thrown) =>
        thrown instanceof HeddleError &&
        thrown.code === 'addresses-exhausted' &&
        /no address is left in 10\.0\.0\.0\/30: 1 of 1 are given to pods/.test(thrown.message),
    );
  assert.equal(ipam.usage()[1]?.given, 1);
  assert.deepEqual(ipam.release(web), ['10.0.0.2', 'fd10::2']);
  assert.deepEqual(ipam.allocate(api), ['10.0.0.2', 'fd10::3']);
});

test('what no valid owner has is taken back', () => {
  const ipam = ipamOf(BLOCKS);
  for (const one of [web, api]) ipam.allocate(one);
  const stale = ipam.collect(({ containerId }) => containerId === 'web');
  assert.deepEqual(stale, [{ ...api, ips: ['10.244.1.3', 'fd10:244:0:1::3'] }]);
  assert.deepEqual(
    ipam.leases().map(({ containerId }) => containerId),
    ['web'],
  );
  assert.deepEqual(ipam.release(api), []);
});

test('a file that was damaged is made again of what pods are found with, and kept for a look', () => {
  for (const damage of ['', '{}', `${'0'.repeat(8)} {"number":1}`]) {
    for (const file of ['addresses.json', 'addresses.log']) rmSync(join(directory, file), { force: true });
    const first = ipamOf(BLOCKS);
    for (const one of [web, api]) first.allocate(one);
    const found = first.leases();
    ipamOf(BLOCKS);
    writeFileSync(join(directory, 'addresses.json'), damage);
    const again = ipamOf(BLOCKS, found);
    assert.deepEqual(again.leases(), found);
    assert.deepEqual(again.allocate({ containerId: 'new', ifname: 'eth0' }), [
      '10.244.1.4',
      'fd10:244:0:1::4',
    ]);
    assert.equal(readFileSync(join(directory, 'addresses.json.damaged'), 'utf8'), damage);
  }
});

test('a damaged line is reported, and costs no other line', () => {
  const errors: string[] = [];
  const log = jsonLogger(systemClock, (line) => errors.push(line));
  const first = ipamOf(BLOCKS);
  for (const one of [web, api]) first.allocate(one);
  const path = join(directory, 'addresses.log');
  writeFileSync(path, readFileSync(path, 'utf8').replace('web', 'wab'));
  const second = openIpam(directory, { blocks: BLOCKS, found: [], log });
  open.push(second);
  assert.deepEqual(second.find(api), ['10.244.1.3', 'fd10:244:0:1::3']);
  assert.match(errors.join(''), /changes of given addresses are unreadable.*"lines":1/);
});

test('what a pod is found with counts more than the files', () => {
  const first = ipamOf(BLOCKS);
  first.allocate(web);
  first.allocate(api);
  const second = ipamOf(BLOCKS, [{ ...web, ips: ['10.244.1.3'] }]);
  assert.deepEqual(second.find(web), ['10.244.1.3']);
  assert.equal(second.find(api), undefined);
  assert.deepEqual(ipamOf(BLOCKS).find(web), ['10.244.1.3']);
});

test("a node's new block is used from its start, and pods keep what they have of the old one", () => {
  ipamOf(['10.244.1.0/24']).allocate(web);
  const moved = ipamOf(['10.244.7.0/24']);
  assert.deepEqual(moved.find(web), ['10.244.1.2']);
  assert.deepEqual(moved.allocate(api), ['10.244.7.2']);
  assert.deepEqual(moved.release(web), ['10.244.1.2']);
});

test('blocks that make no sense are refused', () => {
  for (const blocks of [[], ['10.0.0.0/24', '10.1.0.0/24'], ['10.0.0.0/24', 'fd10::/64', 'fd11::/64']])
    assert.throws(() => ipamOf(blocks), /one block of pod addresses, or one of each family/);
});

test('a half-written line is no damage to those before it', () => {
  const first = ipamOf(BLOCKS);
  first.allocate(web);
  const log = join(directory, 'addresses.log');
  writeFileSync(log, `${readFileSync(log, 'utf8')}12345678 {"number":2,"kind":"gi`);
  const second = ipamOf(BLOCKS);
  assert.deepEqual(second.leases().length, 1);
  assert.equal(readFileSync(log, 'utf8'), '');
  assert.deepEqual(second.allocate(api), ['10.244.1.3', 'fd10:244:0:1::3']);
});

/** Gives and takes back without end, telling of each lease before the next. */
const PROGRAM = `
import { openIpam } from ${JSON.stringify(fileURLToPath(new URL('./ipam.ts', import.meta.url)))};
import { silentLogger } from ${JSON.stringify(fileURLToPath(new URL('../../../common/log.ts', import.meta.url)))};
import { writeSync } from 'node:fs';
const ipam = openIpam(process.argv[1], { blocks: ['10.0.0.0/16'], found: [], log: silentLogger });
const start = ipam.leases().length;
for (let count = start; ; count++) {
  const owner = { containerId: process.pid + '-' + count, ifname: 'eth0' };
  writeSync(1, owner.containerId + ' ' + ipam.allocate(owner)[0] + '\\n');
}
`;

test('an agent that is killed under load has forgotten nothing that it gave', {
  timeout: 60_000,
}, async () => {
  const told = new Map<string, string>();
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > 20_000 * (round + 1)) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const lines = text.split('\n');
    lines.pop();
    assert.ok(lines.length > 100);
    for (const line of lines) {
      const [id = '', ip = ''] = line.split(' ');
      assert.ok(![...told.values()].includes(ip) || told.get(id) === ip, `${ip} was given twice`);
      told.set(id, ip);
    }
    const ipam = ipamOf(['10.0.0.0/16']);
    for (const [id, ip] of told) assert.deepEqual(ipam.find({ containerId: id, ifname: 'eth0' }), [ip]);
    ipam.close();
    open.pop();
  }
});
