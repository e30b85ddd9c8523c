import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { cgroupTable, hierarchiesIn, hierarchyProblem } from './cgroups.ts';

leakCheck();

const HYBRID = `
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset,clone_children
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
90 31 0:38 / /mnt/cgroups rw,relatime - cgroup2 cgroup2 rw,nsdelegate
91 31 0:32 /below /mnt/below rw,relatime - cgroup cgroup rw,memory
`;

test('hierarchies of cgroups are read with what mounts them anew, each once, and bind mounts left out', () => {
  const found = hierarchiesIn(HYBRID);
  assert.equal(hierarchyProblem(found), undefined);
  assert.equal(
    cgroupTable(found, 'hdk-a/node-1'),
    [
      'cpu,cpuacct cgroup cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct/hdk-a/node-1',
      ...['cpuset', 'memory', 'devices', 'freezer', 'pids'].map(
        (name) => `${name} cgroup ${name} /sys/fs/cgroup/${name}/hdk-a/node-1`,
      ),
      'systemd cgroup none,name=systemd /sys/fs/cgroup/systemd/hdk-a/node-1',
      'unified cgroup2 rw /sys/fs/cgroup/unified/hdk-a/node-1\n',
    ].join('\n'),
  );
});

test('a machine whose cgroups nodes cannot be made on is told what is missing', () => {
  const only2 = '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n';
  assert.match(hierarchyProblem(hierarchiesIn(only2)) ?? '', /controllers cpu, cpuacct, .*pids are missing/);
  const only1 = HYBRID.split('\n')
    .filter((line) => !line.includes('cgroup2'))
    .join('\n');
  assert.match(hierarchyProblem(hierarchiesIn(only1)) ?? '', /cgroup v2 is mounted nowhere/);
  const withoutPids = HYBRID.split('\n')
    .filter((line) => !line.includes('pids'))
    .join('\n');
  assert.match(hierarchyProblem(hierarchiesIn(withoutPids)) ?? '', /controllers pids are missing/);
});
