import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { datagram, ethernet } from '../packets/craft.ts';
import { Datapath, HOSTS, VERDICT } from '../packets/datapath.ts';

leakCheck();
let path: Datapath;
before(() => {
  path = new Datapath();
});
after(() => path[Symbol.dispose]());

const LENGTH_AT = { 4: 2, 6: 4 } as const;
const SEGMENT_BYTES = 1400;

describe('segments that the kernel joined', () => {
  for (const family of [4, 6] as const) {
    /** A packet whose length field tells nothing. */
    const lengthless = () => {
      const packet = { from: HOSTS.a[family], to: HOSTS.b[family], protocol: PROTOCOL.TCP };
      const bytes = datagram({ ...packet, payload: Buffer.alloc(3000) });
      bytes.writeUInt16BE(0, LENGTH_AT[family]);
      return ethernet(bytes);
    };

    it(`may be longer than their length field can tell: IPv${family}`, () => {
      const done = path.run('from_pod', lengthless(), { gsoBytes: SEGMENT_BYTES });
      assert.deepEqual([done.verdict, done.drops], [VERDICT.REDIRECT, []]);
    });

    it(`are the only packets without a length: IPv${family}`, () => {
      const done = path.run('from_pod', lengthless());
      assert.deepEqual(
        [done.verdict, done.drops.map((one) => one.reason)],
        [VERDICT.DROP, [DROP.MALFORMED.code]],
      );
    });
  }
});
