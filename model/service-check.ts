import { ANNOTATIONS } from '../common/contracts.ts';
import type { SourcedObject } from './objects.ts';
import { declaredProtocol } from './protocols.ts';
import { type FieldError, type FieldPath, Fields, shown } from './read/fields.ts';
import { portList, strayFields, stringMap } from './read/meta.ts';
import type { Findings } from './status.ts';

const PORTS_MAX = 100;
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const IP_ADDRESS = /^(\d{1,3}(\.\d{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$/;

/** Fields of a Service (core/v1) that say nothing about traffic between pods of the mesh. */
const OUTSIDE_THE_MESH = [
  'allocateLoadBalancerNodePorts',
  'externalIPs',
  'externalTrafficPolicy',
  'healthCheckNodePort',
  'ipFamilies',
  'ipFamilyPolicy',
  'loadBalancerClass',
  'loadBalancerIP',
  'loadBalancerSourceRanges',
  'publishNotReadyAddresses',
  'selector',
  'sessionAffinityConfig',
];

/** Fields that do, and that sidecars don't follow: the value that asks for nothing, and what to do instead. */
const NOT_FOLLOWED = [
  {
    field: 'sessionAffinity',
    harmless: 'None',
    instead: 'a TrafficPolicy with loadBalancer Maglev and hash sourceIp keeps a client at one endpoint',
  },
  { field: 'internalTrafficPolicy', harmless: 'Cluster', instead: 'endpoints of every node are used' },
  { field: 'trafficDistribution', harmless: undefined, instead: 'endpoints of every zone are used' },
] as const;

/**
 * Says what the mesh can't use of a Service. An API server would have refused most of it; a directory of manifests has
 * nobody else to say so.
 */
export function checkService(sourced: SourcedObject, findings: Findings): void {
  const errors: FieldError[] = [...strayFields(sourced.object)];
  const spec = new Fields(sourced.object.spec, ['spec'], errors);
  const ports = checkPorts(spec, (path, message) => findings.problem(sourced, 'warning', path, message));
  const type = spec.choice('type', ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const);
  if (ports === 0 && type !== 'ExternalName' && spec.raw('clusterIP') !== 'None') {
    spec.error(['ports'], 'is required');
  }
  checkIps(spec);
  for (const field of OUTSIDE_THE_MESH) spec.raw(field);
  for (const { field, harmless, instead } of NOT_FOLLOWED) {
    const value = spec.raw(field);
    if (value === undefined || value === harmless) continue;
    const message = `spec.${field} ${shown(value)} has no effect between sidecars: ${instead}`;
    findings.problem(sourced, 'warning', ['spec', field], message);
  }
  const externalName = spec.raw('externalName');
  if (type === 'ExternalName') {
    const message = `ExternalName is not routed by the mesh yet: call ${shown(externalName)} by that name, or give the Service a selector or EndpointSlices`;
    findings.problem(sourced, 'warning', ['spec', 'type'], message);
  }
  spec.finish();
  const { bad } = portList(stringMap(sourced.object.metadata.annotations).get(ANNOTATIONS.opaquePorts));
  if (bad.length > 0) {
    const path: FieldPath = ['metadata', 'annotations', ANNOTATIONS.opaquePorts];
    errors.push({ path, message: `must be ports, not ${bad.join(', ')}` });
  }
  findings.errors(sourced, errors);
}

function checkPorts(spec: Fields, warn: (path: FieldPath, message: string) => void): number {
  const entries = spec.objects('ports', PORTS_MAX);
  const names = new Set<string>();
  const numbers = new Set<string>();
  for (const entry of entries) {
    const port = entry.integer('port', 1, 65_535);
    const protocol = entry.choice('protocol', ['TCP', 'UDP', 'SCTP'] as const) ?? 'TCP';
    const name = entry.string('name', 63) ?? '';
    const appProtocol = entry.string('appProtocol', 253);
    entry.integer('nodePort', 0, 65_535);
    checkTarget(entry);
    if (!entry.has('port')) entry.error(['port'], 'is required');
    if (name === '' && entries.length > 1) entry.error(['name'], 'is required where there are several ports');
    if (name !== '' && !DNS_LABEL.test(name)) entry.error(['name'], 'must be a DNS label: a-z, 0-9 and "-"');
    if (name !== '' && names.has(name)) entry.error(['name'], `${name} is the name of another port`);
    if (port !== undefined && numbers.has(`${port}/${protocol}`)) {
      entry.error(['port'], `${port}/${protocol} is listed twice`);
    }
    if (appProtocol !== undefined && declaredProtocol(appProtocol) === undefined) {
      const message = `appProtocol ${shown(appProtocol)} says nothing to the mesh: the port's name decides, then first bytes`;
      warn([...entry.path, 'appProtocol'], message);
    }
    names.add(name);
    numbers.add(`${port}/${protocol}`);
    entry.finish();
  }
  return entries.length;
}

function checkTarget(entry: Fields): void {
  const target = entry.raw('targetPort');
  if (target === undefined) return;
  if (typeof target === 'number') entry.integer('targetPort', 1, 65_535);
  else if (typeof target !== 'string' || !/^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/.test(target)) {
    entry.error(['targetPort'], `must be a port or the name of a container's port, not ${shown(target)}`);
  }
}

function checkIps(spec: Fields): void {
  const one = spec.string('clusterIP');
  if (one !== undefined && one !== '' && one !== 'None' && !IP_ADDRESS.test(one)) {
    spec.error(['clusterIP'], `must be an IP address or None, not ${shown(one)}`);
  }
  for (const { value, path } of spec.texts('clusterIPs', 2)) {
    if (value !== 'None' && !IP_ADDRESS.test(value)) {
      spec.errors.push({ path, message: `must be an IP address or None, not ${shown(value)}` });
    }
  }
}
