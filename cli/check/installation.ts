import { X509Certificate } from 'node:crypto';
import { ANNOTATIONS, SIDECAR, SYSTEM_NAMESPACE, TRUST_BUNDLE_CONFIG_MAP } from '../../common/contracts.ts';
import { selectionOf } from '../../injector/patch/webhooks.ts';
import type { KubeObject } from '../../model/objects.ts';
import { listed } from '../client/source-pod.ts';
import { at, listAt, numberAt, textAt, textsAt } from '../kube/fields.ts';
import { isReady } from '../output/columns.ts';
import type { InstallationFacts } from './cluster-facts.ts';
import { type Finding, podName } from './findings.ts';
import { injectionRows } from './injection.ts';

/** A root with less left than this wants to be rotated now. */
const rootWarnMs = 30 * 86_400_000;
const PROGRAMS = ['heddle-control-plane', 'heddle-injector'];
const CNI = 'heddle-cni';

/** What is wrong with Heddle's own parts on Kubernetes, and with the pods that it should have changed. */
export function checkInstallation(facts: InstallationFacts): readonly Finding[] {
  return [
    ...checkDeployments(facts),
    ...checkCni(facts),
    ...checkRoots(facts),
    ...checkWebhooks(facts),
    ...checkVersions(facts),
    ...checkMissingSidecars(facts),
  ];
}

function unseen(about: string, what: string): Finding {
  return {
    ...{ level: 'warning', about, message: `can't be looked at: you may not list ${what}` },
    remedy: `kubectl auth can-i list ${what} -n ${SYSTEM_NAMESPACE}; ask somebody who may`,
  };
}

/** Control plane and injector of every revision: as many ready as are wanted, one of each at least. */
function checkDeployments({ deployments }: InstallationFacts): readonly Finding[] {
  if (deployments === undefined) return [unseen('control plane', 'deployments')];
  return PROGRAMS.flatMap((program): readonly Finding[] => {
    const own = deployments.filter(
      ({ metadata: { name } }) => name === program || name.startsWith(`${program}-`),
    );
    if (own.length > 0) return own.map(checkDeployment);
    const message = `there is no Deployment ${SYSTEM_NAMESPACE}/${program}`;
    return [{ level: 'problem', about: program, message, remedy: 'heddle install, or heddle upgrade' }];
  });
}

function checkDeployment({ metadata: { name }, spec, status }: KubeObject): Finding {
  const wanted = numberAt(spec, 'replicas') ?? 1;
  const ready = numberAt(status, 'readyReplicas') ?? 0;
  const about = `deployment ${SYSTEM_NAMESPACE}/${name}`;
  const message = `${ready} of ${wanted} replicas ready`;
  // Replicas of before serve on while those of a change come up, or don't.
  const coming = numberAt(status, 'unavailableReplicas') ?? 0;
  if (ready >= wanted && wanted > 0 && coming === 0) return { level: 'good', about, message };
  if (wanted === 0) {
    const remedy = `kubectl scale deployment/${name} --replicas=2 -n ${SYSTEM_NAMESPACE}`;
    return { level: 'problem', about, message: 'is scaled to 0 replicas', remedy };
  }
  if (ready >= wanted)
    return {
      ...{ level: 'warning', about, message: `${message}, but ${coming} of a change under way not yet` },
      remedy: `kubectl rollout status deployment/${name} -n ${SYSTEM_NAMESPACE}; kubectl get pods -n ${SYSTEM_NAMESPACE} says if it is stuck`,
    };
  return {
    ...{ level: ready === 0 ? 'problem' : 'warning', about, message },
    remedy: `kubectl describe pods -n ${SYSTEM_NAMESPACE}; kubectl logs deployment/${name} -n ${SYSTEM_NAMESPACE}`,
  };
}

/** The pod network's agent on each node that its DaemonSet covers. */
function checkCni({ daemonSets, ownPods, nodes }: InstallationFacts): readonly Finding[] {
  if (daemonSets === undefined) return [unseen(CNI, 'daemonsets')];
  const own = daemonSets.find(({ metadata }) => metadata.name === CNI);
  const about = `daemonset ${SYSTEM_NAMESPACE}/${CNI}`;
  if (own === undefined) {
    const message = `there is no DaemonSet ${SYSTEM_NAMESPACE}/${CNI}: new pods are captured on no node`;
    return [{ level: 'problem', about, message, remedy: 'heddle install, or heddle upgrade' }];
  }
  const wanted = numberAt(own.status, 'desiredNumberScheduled') ?? 0;
  const ready = numberAt(own.status, 'numberReady') ?? 0;
  if (ready >= wanted && wanted > 0)
    return [{ level: 'good', about, message: `ready on ${ready} of ${wanted} nodes` }];
  const lacking = nodesWithout(nodes, ownPods);
  const names = lacking.length === 0 ? '' : `; not on ${listed(lacking)}`;
  return [
    {
      ...{
        level: 'problem',
        about,
        message: `ready on ${ready} of ${wanted} nodes${names}: new pods there don't start`,
      },
      remedy: `kubectl describe pods -n ${SYSTEM_NAMESPACE} -l app.kubernetes.io/name=${CNI}; kubectl logs daemonset/${CNI} -c agent -n ${SYSTEM_NAMESPACE}`,
    },
  ];
}

function nodesWithout(
  nodes: readonly KubeObject[] | undefined,
  ownPods: readonly KubeObject[] | undefined,
): readonly string[] {
  const served = new Set(
    (ownPods ?? [])
      .filter((pod) => pod.metadata.labels?.['app.kubernetes.io/name'] === CNI && isReady(pod))
      .map((pod) => textAt(pod.spec, 'nodeName')),
  );
  return (nodes ?? []).map(({ metadata }) => metadata.name).filter((name) => !served.has(name));
}

function checkRoots({ trustBundle, nowMs }: InstallationFacts): readonly Finding[] {
  const about = 'root certificate';
  const remedy = 'rotate it: docs/kubernetes.md says how';
  if (trustBundle === undefined) return [unseen(about, 'configmaps')];
  const roots = certificatesIn(bundlePem(trustBundle));
  if (roots.length === 0) {
    const message = `ConfigMap ${SYSTEM_NAMESPACE}/${TRUST_BUNDLE_CONFIG_MAP} holds no certificate: sidecars and the API server can't trust anybody`;
    const look = `kubectl logs deployment/heddle-control-plane -n ${SYSTEM_NAMESPACE}; its leader writes it`;
    return [{ level: 'problem', about, message, remedy: look }];
  }
  return roots.map((root): Finding => {
    const endMs = root.validToDate.getTime();
    const day = root.validToDate.toISOString().slice(0, 10);
    if (endMs <= nowMs) return { level: 'problem', about, message: `expired on ${day}`, remedy };
    if (endMs - nowMs < rootWarnMs) return { level: 'warning', about, message: `expires on ${day}`, remedy };
    return { level: 'good', about, message: `valid until ${day}` };
  });
}

/** The API server trusts injectors by the caBundle, which has to be the trust bundle. */
function checkWebhooks({ webhooks, trustBundle }: InstallationFacts): readonly Finding[] {
  if (webhooks === undefined) return [unseen('webhook', 'mutatingwebhookconfigurations')];
  const own = webhooks.filter(({ metadata: { name } }) => /^heddle-injector(-|$)/.test(name));
  if (own.length === 0) {
    const message = 'there is no MutatingWebhookConfiguration heddle-injector: nothing is injected';
    return [{ level: 'problem', about: 'webhook', message, remedy: 'heddle install, or heddle upgrade' }];
  }
  if (trustBundle === undefined) return [];
  const wanted = prints(bundlePem(trustBundle));
  return own.map((configuration): Finding => {
    const about = `webhook ${configuration.metadata.name}`;
    const entries = listAt(configuration, 'webhooks');
    const differs = entries.some((entry) => {
      const bundle = Buffer.from(textAt(entry, 'clientConfig', 'caBundle') ?? '', 'base64').toString('utf8');
      return prints(bundle) !== wanted;
    });
    if (!differs) return { level: 'good', about, message: 'its caBundle is the trust bundle' };
    return {
      ...{ level: 'problem', about },
      message:
        'its caBundle is not the trust bundle: the API server may refuse the injector, and then the pods',
      remedy: `kubectl logs deployment/heddle-control-plane -n ${SYSTEM_NAMESPACE}; its leader writes it within seconds`,
    };
  });
}

function bundlePem(trustBundle: KubeObject | null): string {
  return textAt(trustBundle ?? undefined, 'data', 'root.pem') ?? '';
}

function certificatesIn(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)];
    } catch {
      // Whatever it is, nobody trusts anything by it: it counts as missing.
      return [];
    }
  });
}

/** Which certificates a bundle holds, whatever its order and white space. */
function prints(pem: string): string {
  return certificatesIn(pem)
    .map(({ fingerprint256 }) => fingerprint256)
    .toSorted()
    .join();
}

/** Parts of one mesh are of one version; a sidecar keeps the one that it was made with until its pod is made anew. */
function checkVersions({ deployments, daemonSets, pods, version }: InstallationFacts): readonly Finding[] {
  const controlPlane = deployments?.find(({ metadata }) => metadata.name === 'heddle-control-plane');
  const installed = controlPlane?.metadata.labels?.['app.kubernetes.io/version'];
  if (controlPlane === undefined || installed === undefined) return [];
  const findings: Finding[] = [];
  if (installed !== version)
    findings.push({
      ...{
        level: 'warning',
        about: 'versions',
        message: `the cluster runs Heddle ${installed}, this command is ${version}`,
      },
      remedy: 'use the command of the same version, or heddle upgrade',
    });
  const tag = tagOf(imageOf(controlPlane, 'containers', 'control-plane'));
  const others = [...(deployments ?? []), ...(daemonSets ?? [])].filter(({ metadata: { name, labels } }) => {
    const own = labels?.['app.kubernetes.io/version'];
    return ['heddle-injector', CNI].includes(name) && own !== undefined && own !== installed;
  });
  for (const other of others)
    findings.push({
      ...{
        level: 'warning',
        about: `${other.kind.toLowerCase()} ${SYSTEM_NAMESPACE}/${other.metadata.name}`,
      },
      message: `is of version ${other.metadata.labels?.['app.kubernetes.io/version']}, the control plane of ${installed}`,
      remedy: 'heddle upgrade',
    });
  const old = (pods ?? []).filter((pod) => {
    const revision = pod.metadata.annotations?.[ANNOTATIONS.injected];
    const own = tagOf(imageOf(pod, 'initContainers', SIDECAR.container));
    return revision === 'default' && own !== undefined && tag !== undefined && own !== tag;
  });
  if (old.length > 0)
    findings.push({
      ...{ level: 'warning', about: 'versions' },
      message: `${old.length} sidecars are of another version than the control plane (${tag}): ${listed(old.map(podName))}`,
      remedy: 'kubectl rollout restart deployment -n NAMESPACE gives their pods the new one',
    });
  if (findings.length === 0)
    findings.push({ level: 'good', about: 'versions', message: `everything is of ${installed}` });
  return findings;
}

function imageOf(object: KubeObject, list: string, container: string): string | undefined {
  const spec = object.kind === 'Pod' ? object.spec : at(object.spec, 'template', 'spec');
  return textAt(
    listAt(spec, list).find((one) => textAt(one, 'name') === container),
    'image',
  );
}

/** Images of one release have one tag; those by digest can't be compared. */
function tagOf(image: string | undefined): string | undefined {
  return image?.includes('@') === true ? undefined : /:([^:/]+)$/.exec(image ?? '')?.[1];
}

/** The same judgement as `heddle check inject`, of every namespace that asks for sidecars or has a pod that does. */
function checkMissingSidecars({ namespaces, pods }: InstallationFacts): readonly Finding[] {
  if (namespaces === undefined) return [unseen('sidecars', 'namespaces')];
  if (pods === undefined) return [unseen('sidecars', 'pods')];
  return namespaces.flatMap(({ metadata: { name: namespace, labels = {} } }) => {
    const own = pods.filter((pod) => pod.metadata.namespace === namespace && !isOver(pod));
    if (!own.some((pod) => selectionOf(namespace, labels, textsAt(pod, 'metadata', 'labels')).selected))
      return [];
    const rows = injectionRows({ namespace, labels, pods: own, workloads: [], webhooks: undefined });
    return rows.flatMap(({ name, state, reason, remedy }): readonly Finding[] => {
      if (state !== 'missing' && state !== 'refused' && state !== 'outdated') return [];
      const level = state === 'outdated' ? 'warning' : 'problem';
      const message = state === 'outdated' ? reason : `has no sidecar: ${reason}`;
      const found = { level, about: `pod ${namespace}/${name}`, namespace, message } as const;
      return [{ ...found, remedy: remedy ?? `heddle check inject ${namespace}` }];
    });
  });
}

/** A finished pod is not made anew for a sidecar. */
function isOver(pod: KubeObject): boolean {
  return ['Succeeded', 'Failed'].includes(textAt(pod.status, 'phase') ?? '');
}
