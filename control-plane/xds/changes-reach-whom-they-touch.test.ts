import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DeltaDiscoveryRequest } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { RESOURCE, type ResourceType, TYPE } from '../../common/wire/types.ts';
import { buildMesh } from '../../model/build.ts';
import type { Mesh } from '../../model/mesh.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { podObject } from '../../test/integration/mesh/manifests.ts';
import {
  CATALOG_KEY,
  clusterOf,
  pod,
  policy,
  route,
  service,
  sourced,
} from '../../test/support/small-mesh.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { changesBetween } from '../translate/changes.ts';
import { type Client, type Translation, translate, translationCache } from '../translate/translator.ts';
import { DeltaSession } from './delta.ts';
import { DEFAULT_XDS_LIMITS } from './limits.ts';
import { DeliveryTracker } from './tracker.ts';

const WEB = pod('shop', 'web', '10.244.0.1');
const CATALOG = pod('shop', 'catalog', '10.244.0.2');
const BANK = pod('bank', 'teller', '10.244.0.3');
const BASE = [WEB, CATALOG, BANK].map(podObject);
const toService = (name: string) => ({ targetRefs: [{ group: '', kind: 'Service', name }] });
const to = (name: string) => [{ backendRefs: [{ name, port: 80 }] }];

/** Each is there or isn't, in a few versions. */
const PARTS: readonly (readonly (readonly object[])[])[] = [
  [[], service('shop', 'catalog', '10.96.0.1', [CATALOG]), service('shop', 'catalog', '10.96.0.1')],
  [[], service('shop', 'v1', '10.96.0.2'), service('shop', 'v1', '10.96.0.9', [CATALOG])],
  [[], service('bank', 'loans', '10.96.0.3', [BANK])],
  [[], [route({ namespace: 'shop', name: 'r', parent: 'shop/catalog', rules: to('v1') })]],
  [[], [route({ namespace: 'bank', name: 'c', parent: 'shop/catalog', rules: to('catalog') })]],
  [[], [policy('MTLSPolicy', 'shop', 'm', { mode: 'STRICT' })]],
  [
    [],
    [policy('TrafficPolicy', 'shop', 't', { ...toService('v1'), limits: { maxRequests: 9 } })],
    [
      policy('TrafficPolicy', 'shop', 't', {
        ...toService('v1'),
        loadBalancer: { policy: 'Maglev', hash: { header: 'x-user' } },
      }),
    ],
  ],
];

/** A world: a version of each part, and which trust bundle. */
const world = fc.tuple(...PARTS.map((versions) => fc.nat(versions.length - 1)), fc.nat(9));

/** What clients are subscribed to: destinations by name and by address, with what follows from them. */
const WISHES: Readonly<Record<string, readonly (readonly [ResourceType, readonly string[]])[]>> = {
  web: [
    [TYPE.listener, [RESOURCE.inbound, CATALOG_KEY, '10.96.0.2:80']],
    [TYPE.route, [CATALOG_KEY, 'v1.shop.svc.cluster.local:80']],
    [TYPE.cluster, [clusterOf('catalog'), clusterOf('v1')]],
    [TYPE.endpoints, [clusterOf('catalog'), clusterOf('v1')]],
  ],
  teller: [
    [TYPE.secret, [RESOURCE.trustBundle]],
    [TYPE.listener, ['loans.bank.svc.cluster.local:80', CATALOG_KEY]],
    [TYPE.route, [CATALOG_KEY]],
  ],
  catalog: [[TYPE.listener, [RESOURCE.inbound, '10.96.0.9:80']]],
  envoy: [
    [TYPE.listener, []],
    [TYPE.cluster, []],
    [TYPE.route, [RESOURCE.outbound]],
  ],
};

function sessionOf(name: string): { readonly client: Client; readonly session: DeltaSession } {
  const client = {
    namespace: name === 'teller' ? 'bank' : 'shop',
    pod: name === 'envoy' ? 'web' : name,
    bind: {},
  };
  const node = { nodeId: name, identity: name, client };
  const session = new DeltaSession(
    new DeliveryTracker(node, 'delta', new VirtualClock()),
    DEFAULT_XDS_LIMITS,
  );
  for (const [typeUrl, names] of WISHES[name] ?? []) {
    session.request(DeltaDiscoveryRequest.fromPartial({ typeUrl, resourceNamesSubscribe: [...names] }));
  }
  return { client, session };
}

test('whom a change is said not to touch has nothing due after it', () => {
  let untouched = 0;
  let due = 0;
  fc.assert(
    fc.property(fc.array(world, { minLength: 2, maxLength: 8 }), (worlds) => {
      const cache = translationCache();
      const sessions = Object.keys(WISHES).map(sessionOf);
      let mesh: Mesh | undefined;
      let before: Translation | undefined;
      for (const versions of worlds) {
        const objects = PARTS.flatMap((part, index) => part[versions[index] ?? 0] ?? []);
        mesh = buildMesh([...BASE, ...objects].map(sourced), DEFAULT_MESH_SETTINGS, mesh);
        const after = translate(mesh, (versions.at(-1) ?? 0) === 0 ? 'OTHER' : 'PEM', cache);
        for (const { client, session } of sessions) {
          const view = after.view(client);
          const touched =
            before === undefined || session.isTouched(changesBetween(before, after), client.namespace, view);
          const responses = session.collect(view);
          if (responses.length > 0) due++;
          if (touched) continue;
          untouched++;
          assert.deepEqual(responses, [], `for ${client.namespace}/${client.pod}`);
        }
        before = after;
      }
    }),
  );
  assert.ok(untouched > 50 && due > 50, `${untouched} untouched, ${due} due`);
});
