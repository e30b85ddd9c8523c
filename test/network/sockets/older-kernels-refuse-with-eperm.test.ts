import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { addressBytes } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import type { Program } from './program.ts';
import { SocketWorld } from './world.ts';

leakCheck();

describe('where programs cannot choose the error of a caller', () => {
  let world: SocketWorld;
  let client: Program;

  before(async () => {
    world = new SocketWorld(false);
    client = await world.program(world.pod(11));
    world.service({ address: addressBytes('10.96.7.7'), port: 80 }, []);
    world.service({ address: addressBytes('fd10:96::77'), port: 80 }, []);
  });
  after(() => world.close());

  for (const host of ['10.96.7.7', 'fd10:96::77'])
    it(`a Service without endpoints is refused all the same: ${host}`, async () => {
      assert.equal(await client.error(`tcp("${host}", 80)`), 'EPERM');
      assert.equal(await client.error(`udp("${host}", 80)`), 'EPERM');
    });
});
