import { LABELS, SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import { DEFAULT_REVISION } from '../../injector/patch/webhooks.ts';
import type { KubernetesClient } from '../../sources/kubernetes/client.ts';
import { hasReason } from '../../sources/kubernetes/errors.ts';
import { KINDS, type KubeKind } from '../../sources/kubernetes/kinds.ts';
import { asUnreachable } from '../client/kubernetes.ts';
import { type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { explained } from '../install/helm.ts';
import { type Installation, RELEASE_OPTIONS, withInstallation } from '../install/installation.ts';

function rbac(kind: string, plural: string): KubeKind {
  return { apiVersion: 'rbac.authorization.k8s.io/v1', kind, plural, namespaced: false };
}

/** What `helm uninstall` keeps where pods have no other network (the chart's cni.keepOnUninstall). */
const POD_NETWORK: readonly (readonly [KubeKind, string | undefined, string])[] = [
  [KINDS.daemonSet, SYSTEM_NAMESPACE, 'heddle-cni'],
  [KINDS.service, 'kube-system', 'kube-dns'],
  [rbac('ClusterRoleBinding', 'clusterrolebindings'), undefined, 'heddle-cni'],
  [rbac('ClusterRole', 'clusterroles'), undefined, 'heddle-cni'],
  [KINDS.serviceAccount, SYSTEM_NAMESPACE, 'heddle-cni'],
];

/** Helm's words where there is nothing to uninstall. */
const NO_RELEASE = /release: not found/;

export const uninstall: CommandSpec = {
  name: 'uninstall',
  summary: 'take Heddle off a Kubernetes cluster',
  usage: 'uninstall [--context NAME] [--revision NAME] [--cni] [--wait] [--dry-run]',
  description:
    "Removes control plane, injector and webhook. Pods that run keep their sidecars and go on talking until their\ncertificates end (24 h unless the mesh's settings say otherwise): start them anew to be rid of the sidecars.\nWhat stays: Heddle's kinds with all policies, the root in the Secret heddle-ca, and the pods' network with DNS, where\nHeddle is the only one.",
  examples: ['heddle uninstall', 'heddle uninstall --revision next', 'heddle uninstall --cni'],
  options: {
    ...RELEASE_OPTIONS,
    cni: { type: 'boolean', help: 'remove the pod network and DNS as well: new pods then have neither' },
  },
  positionalsMax: 0,
  run: (input, context) => {
    const cni = input.flag('cni');
    if (cni && (input.text('revision') ?? DEFAULT_REVISION) !== DEFAULT_REVISION)
      throw usageError(
        `the pod network is of revision ${DEFAULT_REVISION}, so that --cni doesn't go with --revision`,
      );
    return withInstallation(input, context, (installation) => runUninstall(context, installation, cni));
  },
};

async function runUninstall(
  context: CliContext,
  installation: Installation,
  cni: boolean,
): Promise<ExitCode> {
  const { client, revision, dryRun } = installation;
  if (revision === DEFAULT_REVISION) await refuseBesideOthers(installation);
  context.out(await removeRelease(installation, cni));
  try {
    if (cni && !dryRun) await removePodNetwork(client, context);
    await tellLabelled(client, context, revision);
  } catch (thrown) {
    throw asUnreachable(thrown);
  }
  return EXIT.done;
}

/** What Helm says. With `--cni`, a release that went before is no obstacle: it left the pod network, which goes now. */
export async function removeRelease(
  { helm, release, revision, common, dryRun }: Omit<Installation, 'client'>,
  cni: boolean,
): Promise<string> {
  const args = ['uninstall', release, ...common, ...(dryRun ? ['--dry-run'] : [])];
  const left =
    revision === DEFAULT_REVISION ? '; heddle uninstall --cni removes the pod network that stayed' : '';
  try {
    return await explained(helm.run(args), NO_RELEASE, `there is no revision ${revision}${left}`);
  } catch (thrown) {
    if (cni && thrown instanceof HeddleError && NO_RELEASE.test(thrown.message)) return '';
    throw thrown;
  }
}

/** The default revision holds what all of them share. */
async function refuseBesideOthers({ helm }: Installation): Promise<void> {
  const listed = await helm.run(['list', '--namespace', SYSTEM_NAMESPACE, '--short', '--filter', '^heddle-']);
  const others = listed.split('\n').filter((name) => name.startsWith('heddle-'));
  if (others.length === 0) return;
  const revisions = others.map((name) => name.slice('heddle-'.length));
  throw new HeddleError(
    'revisions',
    `${others.join(', ')} would lose what all revisions share: first run heddle uninstall --revision ${revisions[0]}`,
  );
}

async function removePodNetwork(client: KubernetesClient, context: CliContext): Promise<void> {
  for (const [kind, namespace, name] of POD_NETWORK) {
    try {
      const { metadata } = await client.get(kind, { namespace, name });
      // A Service kube-dns may be the cluster's own.
      if (metadata.labels?.['app.kubernetes.io/part-of'] !== 'heddle') continue;
      await client.delete(kind, { namespace, name });
      context.out(`${kind.kind.toLowerCase()}/${name} removed\n`);
    } catch (thrown) {
      if (!hasReason(thrown, 'NotFound')) throw thrown;
    }
  }
  context.err(
    'Pods that run keep their network as the kernel has it; new ones need another CNI. On each node, /etc/cni/net.d and\n/sys/fs/bpf/heddle hold what is left: run the agent once with --uninstall there, or start the node anew.\n',
  );
}

/** Namespaces whose pods expect a sidecar that nobody adds any more. */
async function tellLabelled(client: KubernetesClient, context: CliContext, revision: string): Promise<void> {
  const selector =
    revision === DEFAULT_REVISION ? `${LABELS.inject}=enabled` : `${LABELS.revision}=${revision}`;
  const { items } = await client.list(KINDS.namespace, { labelSelector: selector });
  const names = items.map(({ metadata }) => metadata.name);
  if (names.length === 0) return;
  const label = selector.split('=')[0];
  context.err(
    `Pods created from now on in ${names.join(', ')} have no sidecar. Take the label off:\n  kubectl label namespace ${names.join(' ')} ${label}-\n`,
  );
}
