import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Cluster as ClusterCodec } from '../../common/gen/envoy/config/cluster/v3/cluster.ts';
import { ClusterLoadAssignment } from '../../common/gen/envoy/config/endpoint/v3/endpoint.ts';
import { Listener } from '../../common/gen/envoy/config/listener/v3/listener.ts';
import { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import { RESOURCE, type ResourceType, TYPE } from '../../common/wire/types.ts';
import { type ClientView, translate, translationCache } from '../../control-plane/translate/translator.ts';
import { buildMesh } from '../../model/build.ts';
import type { Mesh } from '../../model/mesh.ts';
import { parseMeshSettings } from '../../model/settings.ts';
import { DEFAULT_SIDECAR_SETTINGS } from '../../model/snapshot.ts';
import { decodeCluster, decodeEndpoints } from '../../proxy/config/clusters.ts';
import { decodeInbound, decodeListener } from '../../proxy/config/listeners.ts';
import { decodeRoutes } from '../../proxy/config/routes.ts';
import { sourced } from '../support/small-mesh.ts';
import { meshObjects, meshSettings } from './translated/objects.ts';

const RUNS = 300;

/** The bytes of a resource, as the wire has them. */
function bytesOf(view: ClientView, type: ResourceType, name: string): Uint8Array {
  const resource = view.get(type, name);
  assert.ok(resource !== undefined, `there is no ${type} "${name}"`);
  return resource.body.value;
}

function assertDestinationsSurvive(mesh: Mesh, view: ClientView, namespace: string): void {
  for (const [key, destination] of mesh.destinationsFor(namespace)) {
    const listener = view.get(TYPE.listener, key);
    assert.deepEqual(listener?.aliases, destination.addresses);
    assert.equal(decodeListener(Listener.decode(bytesOf(view, TYPE.listener, key))), key);
    assert.deepEqual(decodeRoutes(RouteConfiguration.decode(bytesOf(view, TYPE.route, key))), destination);
  }
}

function assertClustersSurvive(mesh: Mesh, view: ClientView): void {
  for (const [name, cluster] of mesh.clusters) {
    const decoded = decodeCluster(ClusterCodec.decode(bytesOf(view, TYPE.cluster, name)));
    const endpoints = decodeEndpoints(ClusterLoadAssignment.decode(bytesOf(view, TYPE.endpoints, name)));
    assert.deepEqual({ ...decoded, endpoints }, cluster);
  }
}

/** A sidecar is told of the settings that it acts on, and of no others. */
function assertInboundSurvives(mesh: Mesh, view: ClientView, workload: string): void {
  const config = mesh.inboundFor(workload);
  assert.ok(config !== undefined);
  const told = Object.keys(DEFAULT_SIDECAR_SETTINGS);
  const settings = Object.fromEntries(
    Object.entries(config.settings).filter(([name]) => told.includes(name)),
  );
  const decoded = decodeInbound(Listener.decode(bytesOf(view, TYPE.listener, RESOURCE.inbound)));
  assert.deepEqual(decoded, { ...config, settings });
}

test('a sidecar decodes exactly the mesh that was translated, at the edges of every field', () => {
  const accepted: Record<string, number> = {};
  fc.assert(
    fc.property(meshObjects, meshSettings, (objects, yaml) => {
      const { settings } = parseMeshSettings(yaml, { source: 'mesh.yaml', line: 1 });
      const mesh = buildMesh(objects.map(sourced), settings);
      const translation = translate(mesh, 'PEM', translationCache());
      for (const namespace of ['shop', 'bank']) {
        const view = translation.view({ namespace, pod: 'p0', bind: {} });
        assertDestinationsSurvive(mesh, view, namespace);
        assertClustersSurvive(mesh, view);
      }
      for (const { kind, parents } of mesh.statuses) {
        if (parents[0]?.conditions[0]?.status === 'True') accepted[kind] = (accepted[kind] ?? 0) + 1;
      }
      for (const [key, { namespace, name }] of mesh.workloads) {
        assertInboundSurvives(mesh, translation.view({ namespace, pod: name, bind: {} }), key);
      }
    }),
    { numRuns: RUNS, seed: 3 },
  );
  // Objects that the model refuses leave nothing to compare.
  for (const kind of ['HTTPRoute', 'TrafficPolicy', 'MTLSPolicy']) {
    assert.ok((accepted[kind] ?? 0) > RUNS / 2, `${accepted[kind]} of kind ${kind} were taken in`);
  }
});

test('equal meshes are translated to equal bytes, whatever the order of their objects', () => {
  fc.assert(
    fc.property(meshObjects, fc.nat(), (objects, turn) => {
      const at = turn % objects.length;
      const versions = [objects, [...objects.slice(at), ...objects.slice(0, at)]].map((order) => {
        const mesh = buildMesh(order.map(sourced), parseMeshSettings({}, { source: '', line: 1 }).settings);
        const view = translate(mesh, 'PEM', translationCache()).view({
          namespace: 'shop',
          pod: 'p0',
          bind: {},
        });
        const all = [...view.all(TYPE.cluster), view.get(TYPE.route, RESOURCE.outbound)];
        return all.map((resource) => `${resource?.name} ${resource?.version}`).toSorted();
      });
      assert.deepEqual(versions[0], versions[1]);
    }),
    { numRuns: 100, seed: 4 },
  );
});
