import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { type ClusterPod, TestCluster } from '../../support/network/cluster.ts';
import { serviceOf, sliceOf } from '../../support/service-objects.ts';
import { eventually } from '../../support/wait.ts';
import { goLookup } from '../cni-plugin/go-tools.ts';
import { spawnIn } from '../sockets/program.ts';
import { Callers, inForce } from './callers.ts';
import { DNS_ADDRESSES, NodeDns, runWithResolver, writeResolvConf } from './node-dns.ts';

leakCheck();

const REDIS = { ip4: '10.96.0.77', ip6: 'fd10:96::77' } as const;
const REDIS_PORT = 6379;
const WORLD_NAME = '203.0.113.99';
const startMs = 10_000;
const intervalS = 0.01;
const questionsMin = 50;
const lookup = goLookup();

it('all tools are there where everything must be proven', () => {
  if (process.env.HEDDLE_REQUIRE_ALL_TIERS === '1') assert.equal(typeof lookup, 'string');
});

describe('programs that others wrote', () => {
  let cluster: TestCluster;
  let callers: Callers;
  let client: ClusterPod;
  let server: ClusterPod;
  let redis: ChildProcess;
  const dns: NodeDns[] = [];
  const resolvers: Record<string, string> = {};

  before(async () => {
    cluster = await TestCluster.start();
    callers = new Callers(cluster);
    client = await cluster.addPod('client', { namespace: 'shop' });
    server = await cluster.addPod('redis', { namespace: 'shop', node: 1 });
    const ports = [{ name: '', port: REDIS_PORT, protocol: 'TCP' }];
    cluster.apply(
      serviceOf('redis', {
        clusterIP: REDIS.ip4,
        clusterIPs: Object.values(REDIS),
        ports: [{ port: REDIS_PORT }],
      }).object,
      ...[server.ip4, server.ip6].map((ip) => sliceOf('redis', [`${ip} node-2`], ports).object),
    );
    await inForce(cluster);
    await (await callers.in('world')).run(`names("${cluster.world.ip4}")`);
    for (const node of cluster.nodes) dns.push(await NodeDns.start(cluster, node, cluster.world.ip4));
    for (const [family, address] of Object.entries(DNS_ADDRESSES))
      resolvers[family] = writeResolvConf(cluster, 'shop', address);
    const command = [
      'redis-server',
      '--bind',
      server.ip4,
      server.ip6,
      '--port',
      `${REDIS_PORT}`,
      '--save',
      '',
    ];
    redis = spawnIn({ netns: server.netns, cgroup: server.cgroup }, [
      ...command,
      '--protected-mode',
      'no',
      '--dir',
      cluster.directory,
    ]);
    redis.stdout?.resume();
    await eventually(async () => (await redisCli('-h', REDIS.ip4, 'PING').catch(() => '')) === 'PONG', {
      ...{ deadlineMs: startMs, what: 'Redis answers' },
    });
  });
  after(async () => {
    redis?.kill('SIGKILL');
    for (const one of dns) await one.stop();
    await callers?.stop();
    await cluster?.close();
  });

  async function inClient(family: string, ...command: readonly string[]): Promise<string> {
    return (await runWithResolver(client, resolvers[family] ?? '', command)).trim();
  }

  function redisCli(...words: readonly string[]): Promise<string> {
    return inClient('ip4', 'redis-cli', '-p', `${REDIS_PORT}`, ...words);
  }

  it('a Redis client finds its server on another node by the name of its Service, and is seen by its own address', async () => {
    assert.equal(await redisCli('-h', 'redis', 'SET', 'thread', 'weft'), 'OK');
    for (const name of ['redis', 'redis.shop', 'redis.shop.svc', 'redis.shop.svc.cluster.local'])
      assert.equal(await redisCli('-h', name, 'GET', 'thread'), 'weft');
    for (const family of ['ip4', 'ip6'] as const) {
      const list = await redisCli('-h', REDIS[family], 'CLIENT', 'LIST');
      const [, address = ''] = / addr=(\S+):\d+ /.exec(list) ?? [];
      assert.equal(address.replace(/[[\]]/g, ''), client[family]);
    }
  });

  it('Redis moves much in little time', async (context) => {
    const words = ['-h', REDIS.ip4, '-n', '20000', '-c', '20', '-q', '-t', 'get,set'];
    const said = await inClient('ip4', 'redis-benchmark', ...words);
    assert.match(said, /GET: [\d.]+ requests per second/);
    context.diagnostic(
      said
        .split(/[\r\n]+/)
        .filter((line) => /^(GET|SET): .*p50/.test(line))
        .join(', '),
    );
  });

  for (const family of ['ip4', 'ip6'] as const) {
    const dig = async (...words: readonly string[]) =>
      await inClient(family, 'dig', '+time=5', '+tries=1', ...words);

    it(`dig asks over UDP and TCP: ${family}`, async () => {
      for (const transport of ['+notcp', '+tcp']) {
        assert.equal(await dig(transport, '+short', 'redis.shop.svc.cluster.local'), REDIS.ip4);
        assert.equal(await dig(transport, '+short', 'redis.shop.svc.cluster.local', 'AAAA'), REDIS.ip6);
        assert.equal(await dig(transport, '+short', '-x', REDIS.ip4), 'redis.shop.svc.cluster.local.');
        assert.match(await dig(transport, 'nobody.shop.svc.cluster.local'), /status: NXDOMAIN/);
        assert.match(
          await dig(transport, 'redis.shop.svc.cluster.local'),
          new RegExp(`SERVER: ${DNS_ADDRESSES[family]}#53`),
        );
      }
      assert.equal(await dig('+search', '+short', 'redis'), REDIS.ip4);
      assert.equal(await dig('+short', 'www.example.com'), WORLD_NAME);
    });

    it(`glibc's getaddrinfo goes through the search list: ${family}`, async () => {
      const code = `import socket
for name in ("redis", "redis.shop", "www.example.com"):
    print(*sorted({found[4][0] for found in socket.getaddrinfo(name, 1, type=socket.SOCK_STREAM)}))`;
      const lines = (await inClient(family, 'python3', '-c', code)).split('\n');
      const both = `${REDIS.ip4} ${REDIS.ip6}`;
      assert.deepEqual(lines.slice(0, 2), [both, both]);
      assert.ok(lines[2]?.includes(WORLD_NAME));
    });

    it(`Go's own resolver does as well: ${family}`, { skip: typeof lookup !== 'string' }, async () => {
      const said = await inClient(
        family,
        String(lookup),
        'redis',
        'redis.shop.svc.cluster.local',
        'www.example.com',
      );
      const [short, long, world] = said.split('\n');
      assert.deepEqual([short, long], [`${REDIS.ip4} ${REDIS.ip6}`, `${REDIS.ip4} ${REDIS.ip6}`]);
      assert.ok(world?.includes(WORLD_NAME));
    });
  }

  it('every question is answered while the agent is killed and started anew', async (context) => {
    const program = await callers.in(client);
    const node = cluster.node(0);
    const flows = Object.values(DNS_ADDRESSES).map(
      (address) => `Steady("dns", "${address}", 53, ${intervalS}, "redis.shop.svc.cluster.local")`,
    );
    await program.run(`flows = [${flows.join(', ')}]`);
    await cluster.stopAgent(node, 'SIGKILL');
    cluster.startAgent(node);
    await cluster.ready(node);
    await program.run(`[flow.reach(${questionsMin}) for flow in flows]`);
    const all = (await program.value('[flow.stop() for flow in flows]')) as {
      sent: number;
      errors: string[];
    }[];
    context.diagnostic(`${all.map(({ sent }) => sent).join(' and ')} questions`);
    assert.deepEqual(
      all.map(({ errors }) => errors),
      [[], []],
    );
  });

  it('programs of a node ask the same DNS', async () => {
    const program = await callers.in(cluster.node(1));
    for (const address of Object.values(DNS_ADDRESSES)) {
      await program.run(
        `flow = Steady("dns", "${address}", 53, 0.01, "redis.shop.svc.cluster.local"); flow.reach(5)`,
      );
      const { errors } = (await program.value('flow.stop()')) as { errors: string[] };
      assert.deepEqual(errors, []);
    }
  });
});
