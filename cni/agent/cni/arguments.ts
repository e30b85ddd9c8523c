import { CNI_CODES, CniError, type CniPod } from './handler.ts';

/** What containerd, CRI-O and dockershim set besides the names of the pod, and nobody here needs. */
const UNNEEDED: ReadonlySet<string> = new Set(['IgnoreUnknown', 'K8S_POD_INFRA_CONTAINER_ID']);
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const UID = /^[A-Za-z0-9._-]{1,128}$/;

/**
 * Reads `CNI_ARGS`: `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;…`. Other keys are refused, as the reference library
 * does, unless the runtime says `IgnoreUnknown=1`. Throws a `CniError`.
 */
export function readArguments(text: string): { readonly pod: CniPod | undefined } {
  const found = new Map<string, string>();
  for (const pair of text.split(';')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    if (equals <= 0) throw wrong(`has "${pair}", which is no KEY=VALUE`);
    found.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const namespace = found.get('K8S_POD_NAMESPACE');
  const name = found.get('K8S_POD_NAME');
  const uid = found.get('K8S_POD_UID');
  const tolerant = ['1', 'true', 'TRUE', 't', 'T', 'True'].includes(found.get('IgnoreUnknown') ?? '');
  for (const key of found.keys()) {
    const known = UNNEEDED.has(key) || /^K8S_POD_(NAMESPACE|NAME|UID)$/.test(key);
    if (!known && !tolerant) throw wrong(`has ${key}, which Heddle doesn't know, and no IgnoreUnknown=1`);
  }
  if (namespace === undefined && name === undefined) return { pod: undefined };
  if (namespace === undefined || !DNS_LABEL.test(namespace))
    throw wrong('must name a namespace in K8S_POD_NAMESPACE');
  if (name === undefined || !DNS_SUBDOMAIN.test(name)) throw wrong('must name a pod in K8S_POD_NAME');
  if (uid !== undefined && uid !== '' && !UID.test(uid)) throw wrong('must hold a UID in K8S_POD_UID');
  return { pod: { namespace, name, uid: uid === '' ? undefined : uid } };
}

function wrong(what: string): CniError {
  return new CniError(CNI_CODES.invalidEnvironment, `CNI_ARGS ${what}`, 'the container runtime sets it');
}
