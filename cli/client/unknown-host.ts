import { HeddleError } from '../../common/errors.ts';
import { serviceHostCandidates } from '../../common/names.ts';
import type { KubeObject } from '../../model/objects.ts';
import { listAt, numberAt, textAt } from '../kube/fields.ts';
import { didYouMean } from '../suggest.ts';
import { listed } from './source-pod.ts';

/**
 * Whether a host is a name of the world outside, not of the cluster. `example.com` could be the Service `example` of a
 * namespace `com`: it is outside unless there is such a namespace.
 */
export function isOutside(host: string, namespace: string, objects: readonly KubeObject[]): boolean {
  const candidates = serviceHostCandidates(host, namespace);
  const [, second, ...rest] = host.split('.');
  if (second === undefined || rest.length > 0) return candidates.length === 0;
  return !objects.some((object) => object.metadata.namespace === second);
}

/** Why a host of the cluster is no destination: another port, another namespace, a slip. */
export function unknownHost(url: URL, namespace: string, objects: readonly KubeObject[]): HeddleError {
  const services = objects.filter((object) => object.kind === 'Service');
  const [host = ''] = serviceHostCandidates(url.hostname, namespace);
  const [wanted = '', wantedNamespace = namespace] = host.split('.');
  const here = services.filter((service) => service.metadata.namespace === wantedNamespace);
  const known = here.find((service) => service.metadata.name === wanted);
  if (known !== undefined && textAt(known.spec, 'type') === 'ExternalName')
    return new HeddleError(
      'not-found',
      `Service ${wantedNamespace}/${wanted} is an ExternalName, which the mesh does not route yet`,
    );
  if (known !== undefined)
    return new HeddleError(
      'not-found',
      `Service ${wantedNamespace}/${wanted} has no port ${url.port || '80'}; it has ${portsOf(known)}`,
    );
  const names = here.map((service) => service.metadata.name).toSorted();
  const other = services.find((service) => service.metadata.name === wanted)?.metadata.namespace;
  const hint =
    other === undefined
      ? didYouMean(wanted, names)
      : ` (namespace ${other} has one: http://${wanted}.${other})`;
  const there = names.length === 0 ? 'no Services' : listed(names);
  return new HeddleError(
    'not-found',
    `no Service "${wanted}" in namespace ${wantedNamespace}${hint}; it has ${there}`,
  );
}

function portsOf(service: KubeObject): string {
  return listAt(service.spec, 'ports')
    .map((port) => {
      const name = textAt(port, 'name');
      return `${numberAt(port, 'port')}${name === undefined ? '' : ` (${name})`}`;
    })
    .join(', ');
}
