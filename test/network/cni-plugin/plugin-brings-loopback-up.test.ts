import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { ip, removeNamespace, runIn } from '../../support/network/commands.ts';
import { runPlugin } from './node-side.ts';

leakCheck();

const NAME = `hdlt-lo${process.pid}`;
const netns = `/run/netns/${NAME}`;

before(() => ip('netns', 'add', NAME));
after(() => removeNamespace(NAME));

/** As containerd calls it for each pod, by a configuration of its own. */
function call(command: string, cniVersion = '1.0.0', namespace = netns) {
  const env = { CNI_COMMAND: command, CNI_CONTAINERID: 'abc', CNI_NETNS: namespace, CNI_IFNAME: 'lo' };
  return runPlugin(env, JSON.stringify({ cniVersion, name: 'cni-loopback', type: 'loopback' }));
}

test('lo is checked, brought up, and left alone at the end, without any agent', async () => {
  const down = await call('CHECK');
  assert.deepEqual([down.exitCode, down.output.msg], [1, 'lo is down']);

  const { exitCode, output } = await call('ADD');
  assert.equal(exitCode, 0);
  assert.deepEqual(output, {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: netns }],
    ips: [{ address: '127.0.0.1/8', interface: 0 }],
  });
  runIn(netns, 'ping', '-c1', '-W1', '127.0.0.1');
  assert.equal((await call('CHECK')).exitCode, 0);
  assert.equal((await call('ADD')).exitCode, 0, 'it may be called again');
  for (const command of ['DEL', 'GC', 'STATUS']) {
    const done = await call(command, '1.1.0');
    assert.deepEqual([done.exitCode, done.text], [0, ''], command);
  }
  runIn(netns, 'ping', '-c1', '-W1', '127.0.0.1');
});

test('old results say the family of an address', async () => {
  const { output } = await call('ADD', '0.3.1');
  assert.deepEqual(output.ips, [{ address: '127.0.0.1/8', interface: 0, version: '4' }]);
});

test('a namespace that is gone fails an ADD, and no DEL', async () => {
  const { exitCode, output } = await call('ADD', '1.0.0', '/run/netns/none');
  assert.deepEqual([exitCode, output.code, output.details], [1, 5, '/run/netns/none']);
  assert.equal((await call('DEL', '1.0.0', '/run/netns/none')).exitCode, 0);
});
