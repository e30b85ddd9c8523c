import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { objectsOf, recordOf, textOf } from '../../model/read/meta.ts';
import { leakCheck } from '../support/leak-check.ts';
import { runIn } from '../support/network/commands.ts';
import { eventually } from '../support/wait.ts';
import { ADDRESSES } from './cluster/layout.ts';
import { IMAGES } from './cluster/parts.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { assertNothingLeft, processes } from './support/machine-state.ts';

leakCheck();

const answersMs = 30_000;
const comesBackMs = 60_000;
const rssMaxKb = 2 * 1024 * 1024;

/** Runs without a pod network: on the node's own. */
function hostPod(name: string, nodeName: string, more: string): string {
  return `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: kube-system}
spec:
  nodeName: ${nodeName}
  ${more}
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  tolerations: [{operator: Exists}]
  containers:
  - name: main
    image: ${IMAGES.tool}
    command: [/bin/sh, -c, 'echo started; echo hello > /tmp/index.html; exec httpd -f -p 8099 -h /tmp']
    securityContext: {privileged: true}
    volumeMounts:
    - {name: cgroups, mountPath: /sys/fs/cgroup}
    - {name: bpf, mountPath: /sys/fs/bpf, mountPropagation: Bidirectional}
    - {name: netns, mountPath: /run/netns, mountPropagation: HostToContainer}
  volumes:
  - {name: cgroups, hostPath: {path: /sys/fs/cgroup}}
  - {name: bpf, hostPath: {path: /sys/fs/bpf}}
  - {name: netns, hostPath: {path: /run/netns}}
`;
}

let cluster: KubernetesCluster;
before(async () => {
  cluster = await KubernetesCluster.start({ nodes: 2 });
  await cluster.apply(hostPod('first', 'node-1', 'hostPID: true'));
  await cluster.apply(hostPod('second', 'node-2', ''));
  for (const name of ['first', 'second'])
    await cluster.waitFor(`pod/${name}`, 'condition=Ready', { namespace: 'kube-system' });
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

const first = { namespace: 'kube-system', name: 'first' };
const inFirst = (script: string) => cluster.exec(first, ['/bin/sh', '-c', script]);

test('both nodes register with ranges for pods of both families, and wait for a pod network', async () => {
  const nodes = objectsOf((await cluster.get(['nodes'])).items);
  assert.deepEqual(
    nodes.map(({ metadata }) => recordOf(metadata).name),
    ['node-1', 'node-2'],
  );
  for (const { spec, status } of nodes) {
    const ranges = recordOf(spec).podCIDRs;
    assert.ok(Array.isArray(ranges) && ranges.length === 2);
    assert.match(String(ranges[0]), /^10\.244\.\d+\.0\/24$/);
    assert.match(String(ranges[1]), /^fd10:244:.*\/64$/);
    const ready = objectsOf(recordOf(status).conditions).find(({ type }) => type === 'Ready');
    assert.match(textOf(ready?.message) ?? '', /cni plugin not initialized/);
  }
});

test('the Service of the API server leads to a node, as Services of every cluster do', async () => {
  const service = recordOf((await cluster.get(['service', 'kubernetes'])).spec);
  assert.equal(service.clusterIP, ADDRESSES.apiServerServiceIp);
  const [slice] = objectsOf(
    (await cluster.get(['endpointslices', '--selector=kubernetes.io/service-name=kubernetes'])).items,
  );
  assert.deepEqual(objectsOf(slice?.endpoints)[0]?.addresses, [cluster.node(1).ip4]);
  assert.equal(objectsOf(slice?.ports)[0]?.port, ADDRESSES.apiServerPort);
});

test('kubectl reads logs, runs commands and forwards ports on both nodes', async () => {
  for (const name of ['first', 'second']) {
    assert.equal(await cluster.kubectl(['logs', '--namespace=kube-system', name]), 'started\n');
    const forwarded = await cluster.forward({ ...first, name }, 8099);
    try {
      const response = await fetch(`http://127.0.0.1:${forwarded.port}/index.html`, {
        headers: { connection: 'close' },
      });
      assert.equal(await response.text(), 'hello\n');
    } finally {
      await forwarded.close();
    }
    const page = ['wget', '-q', '-O', '-', 'http://127.0.0.1:8099/index.html'];
    assert.equal(await cluster.exec({ ...first, name }, page), 'hello\n');
  }
  assert.equal(await cluster.exec(first, ['cat'], { input: 'there and back' }), 'there and back');
});

test('a pod that mounts the cgroups of its node sees its node in version 2, and nobody else', async () => {
  const seen = await inFirst(
    'ls -id /sys/fs/cgroup/unified; cat /proc/*/cgroup 2>/dev/null | grep ^0:: | sort -u',
  );
  const [root = '', ...paths] = seen.trim().split('\n');
  const folder = `/sys/fs/cgroup/unified/${cluster.node(1).cgroup}`;
  assert.equal(Number.parseInt(root, 10), Number(runIn('/proc/self/ns/net', 'stat', '-c', '%i', folder)));
  const uid = textOf(recordOf((await cluster.get(['pod', '--namespace=kube-system', 'first'])).metadata).uid);
  assert.ok(paths.includes('0::/'), 'the node and its control plane');
  assert.ok(paths.some((path) => new RegExp(`^0::/kubepods/besteffort/pod${uid}/[0-9a-f]{64}$`).test(path)));
  assert.ok(
    paths.every((path) => !path.includes('..')),
    `no process of elsewhere: ${paths.join(' ')}`,
  );
  // The API server calls Services from here.
  assert.match(
    await inFirst('cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "'),
    /kubernetes kube-apiserver /,
  );
  assert.match(await cluster.onNode(1, ['cat', '/proc/self/cgroup']), /^0::\/$/m);
  assert.doesNotMatch(await inFirst('hostname; cat /proc/[0-9]*/cmdline 2>/dev/null; true'), /node-2/);
});

test('pins of eBPF objects and network namespaces of the node show in its pods', async () => {
  await cluster.onNode(1, ['mkdir', '/sys/fs/bpf/pinned']);
  assert.match(await inFirst('ls /sys/fs/bpf'), /^pinned$/m);
  await cluster.onNode(1, [
    'sh',
    '-c',
    'touch /run/netns/late && mount --bind /proc/self/ns/net /run/netns/late',
  ]);
  assert.match(await inFirst('grep -c "nsfs nsfs" /proc/self/mountinfo'), /^1$/m);
  await cluster.onNode(1, ['umount', '/run/netns/late']);
  assert.match(await inFirst('grep -c "nsfs nsfs" /proc/self/mountinfo || true'), /^0$/m);
});

test('the world reaches the nodes', async () => {
  for (const { ip4 } of cluster.layout.nodes) {
    const call = `exec 3<>/dev/tcp/${ip4}/8099; printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`;
    assert.match(await cluster.inWorld(['bash', '-c', call]), /hello/);
  }
});

test('tokens of ServiceAccounts name their audience, and the restricted level is in force where it is asked for', async () => {
  const token = (await cluster.kubectl(['create', 'token', 'default', '--audience=heddle-ca'])).trim();
  const review = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: ['heddle-ca'] },
  };
  const input = JSON.stringify(review);
  const reviewed = JSON.parse(await cluster.kubectl(['create', '--filename=-', '--output=json'], { input }));
  assert.equal(reviewed.status.user.username, 'system:serviceaccount:default:default');
  await cluster.kubectl(['create', 'namespace', 'strict']);
  await cluster.kubectl(['label', 'namespace', 'strict', 'pod-security.kubernetes.io/enforce=restricted']);
  const privileged = hostPod('refused', 'node-1', '').replace('kube-system', 'strict');
  await assert.rejects(cluster.apply(privileged), /violates PodSecurity "restricted:latest"/);
});

test('programs that end come back, and one that is held stays away', async () => {
  const node = cluster.node(1);
  const answers = () =>
    cluster.kubectl(['get', '--raw=/readyz'], { timeoutMs: answersMs }).then(
      () => true,
      () => false,
    );
  await cluster.holdProgram(node, 'kube-apiserver');
  await assert.rejects(cluster.kubectl(['get', '--raw=/readyz'], { timeoutMs: answersMs }));
  cluster.letProgramGo(node, 'kube-apiserver');
  await eventually(answers, { deadlineMs: comesBackMs, what: 'the API server answers again' });
});

test('two nodes fit into 2 GB of memory', () => {
  const own = processes().filter(({ text }) => text.includes(`/${cluster.layout.prefix}/`));
  const rssKb = own.reduce((sum, one) => sum + one.rssKb, 0);
  assert.ok(own.length > 10 && rssKb > 100 * 1024, `${own.length} processes`);
  assert.ok(rssKb <= rssMaxKb, `${Math.round(rssKb / 1024)} MB`);
});
