import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gatherOffers, networkProblems, requireNetwork } from '../../../cni/agent/preflight.ts';
import { KernelError } from '../../../cni/kernel/errors.ts';
import { openObject } from '../../../cni/kernel/libbpf.ts';
import { HeddleError } from '../../../common/errors.ts';
import { cgroup2Mounts } from '../../../common/linux.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { compileBpf } from '../../support/network/compile-bpf.ts';

leakCheck();
const REFUSED = compileBpf(fileURLToPath(new URL('../kernel/fixtures/refused.bpf.c', import.meta.url)));
const SOCKET = fileURLToPath(new URL('../../../cni/bpf/objects/socket.o', import.meta.url));
/** ENOTSUPP (linux/errno.h), which has no public name: the kernel has no test run for this kind. */
const NO_TEST_RUN = 524;
/** `struct bpf_sock_addr` is the largest context of the three kinds. */
const CONTEXT_BYTES = 72;
const mode = 'tunnel';
const pins = '/sys/fs/bpf/heddle/test';
const cgroup = cgroup2Mounts(readFileSync('/proc/self/mounts', 'utf8'))[0] ?? '';

describe('what stands in the way of the pod network', () => {
  it('is nothing on this machine, where every committed object loads', () => {
    const offers = gatherOffers({ cgroup, mode, pins });
    assert.deepEqual(networkProblems(offers, { cgroup, mode, pins }), []);
    requireNetwork({ cgroup, mode, pins });
  });

  it('is a program that the verifier refuses, in its own words', () => {
    const offers = gatherOffers({ cgroup, mode, pins }, [REFUSED]);
    const [problem, ...more] = networkProblems(offers, { cgroup, mode, pins });
    assert.deepEqual(more, []);
    assert.match(problem ?? '', /doesn't take the programs of .*refused\.bpf\.o: load .*(EINVAL|EACCES)/);
    assert.match(problem ?? '', /R\d/, 'the verifier names a register');
  });

  it('is an object that is not there', () => {
    const [problem] = networkProblems(gatherOffers({ cgroup, mode, pins }, ['/nowhere.o']), {
      cgroup,
      mode,
      pins,
    });
    assert.match(problem ?? '', /nowhere\.o: .*ENOENT/);
  });

  it('is a cgroup that is none of version 2', () => {
    for (const folder of ['/proc', '/tmp'])
      assert.equal(gatherOffers({ cgroup: folder, mode, pins }, []).cgroup, 'another file system');
    assert.equal(gatherOffers({ cgroup: '/nowhere', mode, pins }, []).cgroup, 'nothing');
  });

  it('ends a start with one error that has the list', () => {
    assert.throws(
      () => requireNetwork({ cgroup: '/nowhere/at/all', mode, pins }),
      (thrown) =>
        thrown instanceof HeddleError &&
        thrown.code === 'network-preflight' &&
        /can't run on this node:\n {2}- there is no folder \/nowhere\/at\/all: make it/.test(thrown.message),
    );
  });
});

describe('nftables', () => {
  const path = process.env.PATH;
  const withPath = (folder: string, task: () => void) => {
    process.env.PATH = folder;
    try {
      task();
    } finally {
      process.env.PATH = path;
    }
  };

  it('are asked for by their program, but where another network masquerades', () => {
    withPath('/nowhere', () => {
      const missing = networkProblems(gatherOffers({ cgroup, mode, pins }, []), { cgroup, mode, pins });
      assert.match(missing.join(), /^the program nft must be installed \(package nftables\)/);
      assert.equal(gatherOffers({ cgroup, mode: 'capture', pins }, []).nftables, undefined);
    });
  });

  it('say why they fail', () => {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-nft-'));
    writeFileSync(join(folder, 'nft'), '#!/bin/sh\necho Protocol not supported >&2\nexit 1\n', {
      mode: 0o755,
    });
    withPath(folder, () => {
      const { nftables } = gatherOffers({ cgroup, mode, pins }, []);
      const said = "nft can't list tables (Protocol not supported): the kernel needs CONFIG_NF_TABLES";
      assert.equal(nftables, said);
    });
    rmSync(folder, { recursive: true });
  });
});

describe('programs at sockets have no test run, so that real sockets show them (sockets/, capture/)', () => {
  it('the kernel says so of each', () => {
    const open = openObject(SOCKET).setRodata({ can_refuse: Buffer.from([1]) });
    using object = open.load();
    assert.equal(object.programs.size, 10);
    for (const [name, program] of object.programs)
      assert.throws(
        () => program.testRun({ context: Buffer.alloc(CONTEXT_BYTES) }),
        (thrown) => thrown instanceof KernelError && thrown.errno === NO_TEST_RUN,
        name,
      );
  });
});
