import { join } from 'node:path';
import { CHART } from './helm.ts';

/** Ways to install, each with a golden of its name. */
export const VARIANTS = {
  default: [],
  ha: ['--values', join(CHART, 'values-ha.yaml')],
  'without-cni': ['--set', 'cni.enabled=false'],
  revision: ['--set', 'revision=r2'],
  chained: ['--set', 'cni.mode=capture,cni.chained=10-calico.conflist'],
  'everything-set': [
    ...['--set', 'apiServerHost=10.0.0.5,apiServerPort=6443,ca.existingSecret=own-root'],
    ...['--set', 'image.registry=registry.example/heddle/,image.tag=1.2.3,image.pullSecrets={pull}'],
    ...['--set', `image.proxy.digest=sha256:${'0'.repeat(64)},image.pullPolicy=Always`],
    ...['--set', 'meshSettings.trustDomain=shop.example,meshSettings.mtls.mode=STRICT'],
    ...[
      '--set',
      'cni.mode=direct,cni.uplink=ens5,cni.cgroup=/sys/fs/cgroup,cni.metrics=,cni.keepOnUninstall=false',
    ],
    ...['--set', 'cni.podRanges={10.1.0.0/16,fd00::/56}'],
    ...[
      '--set',
      'dns.clusterIP=10.2.0.10,dns.createService=false,dns.upstreams={9.9.9.9},dns.clusterDomain=shop.internal',
    ],
    ...['--set', 'controlPlane.listen=::,controlPlane.dashboardListen=::1,controlPlane.priorityClassName='],
    ...['--set', 'controlPlane.podDisruptionBudget=false,injector.podDisruptionBudget=false'],
    ...['--set', 'controlPlane.podLabels.team=mesh,injector.podAnnotations.note=here'],
    ...['--set', 'injector.tolerations[0].operator=Exists,networkPolicies.enabled=false'],
  ],
} as const satisfies Readonly<Record<string, readonly string[]>>;
