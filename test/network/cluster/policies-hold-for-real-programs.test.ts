import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { JsonObject } from '../../../common/json.ts';
import type { AgentStatus, DropEnd, DropRecord } from '../../../common/pod-network.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type ClusterPod, TestCluster } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { networkPolicy } from '../../support/policy-objects.ts';
import { serviceOf, sliceOf } from '../../support/service-objects.ts';
import { eventually } from '../../support/wait.ts';
import { spawnIn } from '../sockets/program.ts';
import { ask, Callers, inForce } from './callers.ts';
import { DNS_ADDRESSES, NodeDns, runWithResolver, writeResolvConf } from './node-dns.ts';

leakCheck();

const PORT = 8080;
const NODE_PORT = 30_080;
const OTHER_CLIENT = '192.0.2.200';
const CLUSTER_IPS = ['10.96.0.60', 'fd10:96::60'] as const;
const withinMs = 10_000;
const TIMED_OUT = 'curl: (28)';

/** The usual recipe: nobody speaks; then all may ask names; then one client may ask one server. */
const DENY = policy('default-deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
const ALLOW_DNS = policy('allow-dns', {
  ...{ podSelector: {}, policyTypes: ['Egress'] },
  egress: [
    {
      to: [
        {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } },
          podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
        },
      ],
      ports: ['UDP', 'TCP'].map((protocol) => ({ protocol, port: 53 })),
    },
  ],
});
const ALLOW_OUT = policy('client-out', {
  ...{ podSelector: { matchLabels: { app: 'client' } }, policyTypes: ['Egress'] },
  egress: [{ to: [{ podSelector: { matchLabels: { app: 'web' } } }], ports: [{ port: 'http' }] }],
});
const ALLOW_IN = policy('web-in', {
  ...{ podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] },
  ingress: [{ from: [{ podSelector: { matchLabels: { app: 'client' } } }], ports: [{ port: 'http' }] }],
});
const ALLOW_WORLD = policy('world-in', {
  ...{ podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'] },
  ingress: [
    {
      from: [
        { ipBlock: { cidr: '192.0.2.0/24', except: [`${OTHER_CLIENT}/32`] } },
        { ipBlock: { cidr: '2001:db8::/64' } },
      ],
      ports: [{ protocol: 'TCP', port: PORT }],
    },
  ],
});

function policy(name: string, spec: JsonObject): KubeObject {
  return networkPolicy(name, spec).object;
}

describe('the usual policies, and programs that others wrote', () => {
  let cluster: TestCluster;
  let callers: Callers;
  let client: ClusterPod;
  let stranger: ClusterPod;
  let web: ClusterPod;
  const dns: NodeDns[] = [];
  let resolver = '';

  before(async () => {
    cluster = await TestCluster.start();
    callers = new Callers(cluster);
    const at = (node: number, app: string) => ({ namespace: 'shop', node, labels: { app } });
    client = await cluster.addPod('client', at(0, 'client'));
    stranger = await cluster.addPod('stranger', at(0, 'stranger'));
    web = await cluster.addPod('web', { ...at(1, 'web'), ports: [{ name: 'http', containerPort: PORT }] });
    const ports = [{ name: '', port: PORT, protocol: 'TCP' }];
    const spec = { type: 'NodePort', clusterIP: CLUSTER_IPS[0], clusterIPs: [...CLUSTER_IPS] };
    cluster.apply(
      serviceOf('web', { ...spec, ports: [{ port: 80, nodePort: NODE_PORT }] }).object,
      ...[web.ip4, web.ip6].map((ip) => sliceOf('web', [`${ip} node-2`], ports).object),
    );
    await inForce(cluster);
    runIn(cluster.world.netns, 'ip', 'addr', 'add', `${OTHER_CLIENT}/32`, 'dev', 'br0');
    for (const node of cluster.nodes) dns.push(await NodeDns.start(cluster, node, '127.0.0.1:1'));
    resolver = writeResolvConf(cluster, 'shop', DNS_ADDRESSES.ip4);
    const folder = join(cluster.directory, 'www');
    mkdirSync(folder);
    writeFileSync(join(folder, 'index.html'), 'cloth\n');
    const serve = `exec python3 -m http.server ${PORT} --bind :: --directory ${folder} 2>/dev/null`;
    spawnIn({ netns: web.netns, cgroup: web.cgroup }, ['sh', '-c', serve]).stdout?.resume();
    await eventually(async () => (await curl(client, 'http://web')) === 'cloth', {
      ...{ deadlineMs: withinMs, what: 'the server answers' },
    });
  });
  after(async () => {
    for (const one of dns) await one.stop();
    await callers?.stop();
    await cluster?.close();
  });

  async function applied(...policies: readonly KubeObject[]): Promise<void> {
    cluster.apply(...policies);
    await inForce(cluster);
  }

  /** Waits until as many policies are left on both nodes: a file that is gone counts a little later than one that is written. */
  async function withdrawn(left: number, ...policies: readonly KubeObject[]): Promise<void> {
    cluster.delete(...policies);
    for (const node of cluster.nodes)
      await eventually(async () => (await ask<AgentStatus>(node, '/status')).known.policies === left, {
        ...{ deadlineMs: withinMs, what: `${node.name} knows ${left} policies` },
      });
  }

  /** What curl prints, or the error it ends with. */
  async function curl(pod: ClusterPod, url: string, ...more: readonly string[]): Promise<string> {
    const command = ['curl', '-sS', '--globoff', '--connect-timeout', '1', '-m', '5', ...more, url];
    try {
      return (await runWithResolver(pod, resolver, command)).trim();
    } catch (thrown) {
      return thrown instanceof Error && 'stderr' in thrown ? String(thrown.stderr) : String(thrown);
    }
  }

  function fromWorld(url: string, ...more: readonly string[]): string {
    try {
      return runIn(
        cluster.world.netns,
        'curl',
        '-sS',
        '--globoff',
        '--connect-timeout',
        '1',
        '-m',
        '5',
        ...more,
        url,
      ).trim();
    } catch (thrown) {
      return thrown instanceof Error && 'stderr' in thrown ? String(thrown.stderr) : String(thrown);
    }
  }

  /** Such a drop is told on a node: `egress TCP shop/a > shop/b 80: shop/policy`. */
  async function assertTold(node: number, wanted: string): Promise<void> {
    let seen: readonly string[] = [];
    const told = async () => {
      const { items } = await ask<{ items: readonly DropRecord[] }>(cluster.node(node), '/drops');
      seen = items.filter(({ reason }) => reason === 'policy').map(textOf);
      return seen.includes(wanted);
    };
    await eventually(told, { deadlineMs: withinMs, what: `${wanted} is told` }).catch((thrown: unknown) =>
      assert.fail(`${thrown}; told were ${[...new Set(seen)].join('\n')}`),
    );
  }

  it('with default deny nobody resolves a name or reaches anybody, and is told why', async () => {
    await applied(DENY);
    for (const pod of [client, stranger]) {
      assert.match(await curl(pod, 'http://web'), /curl: \((6|28)\)/);
      for (const ip of [CLUSTER_IPS[0], `[${CLUSTER_IPS[1]}]`])
        assert.ok((await curl(pod, `http://${ip}`)).startsWith(TIMED_OUT));
      await assertTold(0, `egress UDP shop/${pod.name} > dns 53: shop/default-deny`);
      await assertTold(0, `egress TCP shop/${pod.name} > shop/web ${PORT}: shop/default-deny`);
    }
  });

  it('with DNS allowed names are resolved, and no more', async () => {
    await applied(ALLOW_DNS);
    for (const pod of [client, stranger]) {
      assert.match(
        await runWithResolver(pod, resolver, ['getent', 'ahostsv4', 'web']),
        new RegExp(CLUSTER_IPS[0]),
      );
      for (const transport of ['+tcp', '+notcp'])
        assert.match(
          await runWithResolver(pod, resolver, ['dig', transport, '+short', '+search', 'web']),
          /^10\.96/,
        );
      assert.ok((await curl(pod, 'http://web')).startsWith(TIMED_OUT));
      await assertTold(0, `egress TCP shop/${pod.name} > shop/web ${PORT}: shop/allow-dns shop/default-deny`);
    }
  });

  it('what may leave must be let in as well', async () => {
    await applied(ALLOW_OUT);
    assert.ok((await curl(client, 'http://web')).startsWith(TIMED_OUT));
    await assertTold(1, `ingress TCP shop/client > shop/web ${PORT}: shop/default-deny`);
  });

  it('with both the client reads its page over both families, and the stranger does not', async () => {
    await applied(ALLOW_IN);
    for (const family of ['-4', '-6']) {
      assert.equal(await curl(client, 'http://web', family), 'cloth');
      assert.ok((await curl(stranger, 'http://web', family)).startsWith(TIMED_OUT));
    }
    assert.ok((await curl(client, `http://${web.ip4}:22`)).startsWith(TIMED_OUT), 'another port');
  });

  it('clients of the world come in by the node port as an ipBlock says, by their own addresses', async () => {
    const urls = cluster.nodes.map(({ ip4 }) => `http://${ip4}:${NODE_PORT}`);
    for (const url of urls) assert.ok(fromWorld(url).startsWith(TIMED_OUT));
    await assertTold(1, `ingress TCP world > shop/web ${PORT}: shop/default-deny shop/web-in`);
    await applied(ALLOW_WORLD);
    for (const url of urls) {
      assert.equal(fromWorld(url), 'cloth');
      assert.ok(fromWorld(url, '--interface', OTHER_CLIENT).startsWith(TIMED_OUT), 'an address of `except`');
    }
    for (const { ip6 } of cluster.nodes) assert.equal(fromWorld(`http://[${ip6}]:${NODE_PORT}`), 'cloth');
    await assertTold(1, `ingress TCP world > shop/web ${PORT}: shop/default-deny shop/web-in shop/world-in`);
  });

  it("a pod's own node reaches it whatever policies say, another node does not", async () => {
    const own = runIn(cluster.node(1).netns, 'curl', '-sS', '-m', '5', `http://${web.ip4}:${PORT}`).trim();
    assert.equal(own, 'cloth');
    await withdrawn(4, ALLOW_WORLD);
    const other = () =>
      runIn(
        cluster.node(0).netns,
        'curl',
        '-sS',
        '--connect-timeout',
        '1',
        '-m',
        '5',
        `http://${web.ip4}:${PORT}`,
      );
    assert.throws(other, /curl: \(28\)/);
    await assertTold(1, `ingress TCP node-1 > shop/web ${PORT}: shop/default-deny shop/web-in`);
  });

  it('a policy that goes cuts what it allowed, and open connections with it', async () => {
    const program = await callers.in(web);
    await program.run(`echo("${web.ip4}", 9100)`);
    await applied(
      policy('open', { podSelector: {}, policyTypes: ['Ingress', 'Egress'], ingress: [{}], egress: [{}] }),
    );
    const caller = await callers.in(stranger);
    await caller.run(
      `kept = dial("${web.ip4}", 9100, timeout=1); kept.sendall(b"1"); result = kept.recv(1).decode()`,
    );
    await withdrawn(4, policy('open', {}));
    assert.equal(await caller.error('kept.sendall(b"2") or kept.recv(1).decode()'), 'TIMEOUT');
  });

  it('without policies all is open again', async () => {
    await withdrawn(0, DENY, ALLOW_DNS, ALLOW_IN, ALLOW_OUT);
    for (const pod of [client, stranger]) assert.equal(await curl(pod, 'http://web'), 'cloth');
    for (const node of cluster.nodes) assert.equal(fromWorld(`http://${node.ip4}:${NODE_PORT}`), 'cloth');
  });
});

function textOf({ direction, protocol, from, to, policies }: DropRecord): string {
  const name = (end: DropEnd) => end.name || end.kind;
  return `${direction} ${protocol} ${name(from)} > ${name(to)} ${to.port}: ${policies.toSorted().join(' ')}`;
}
