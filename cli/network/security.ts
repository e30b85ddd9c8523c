import { HeddleError } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import { at, listAt, numberAt } from '../kube/fields.ts';
import type { ContainerSpec } from '../local/pod-spec.ts';

/** As whom a container runs, and what it may do. */
export interface Rights {
  readonly user: number;
  readonly group: number;
  readonly groups: readonly number[];
  /** In words of capabilities(7), lower case, without `cap_`; `all` for every one. */
  readonly capabilities: readonly string[];
  readonly privileged: boolean;
  /** Nothing that is executed gains rights (prctl(2), PR_SET_NO_NEW_PRIVS). */
  readonly noNewPrivileges: boolean;
}

/** What container runtimes leave a container unless it asks otherwise (containerd's and Docker's default). */
const DEFAULT_CAPABILITIES = [
  ...['chown', 'dac_override', 'fsetid', 'fowner', 'mknod', 'net_raw', 'setgid', 'setuid', 'setfcap'],
  ...['setpcap', 'net_bind_service', 'sys_chroot', 'kill', 'audit_write'],
];

/**
 * Reads `securityContext` of a container over that of its pod (Kubernetes, "Configure a Security Context"). Without an
 * image, the user is root unless one is given. Fails with code `container-config` where the two contradict each other.
 */
export function rightsOf(podSpec: JsonValue | undefined, container: ContainerSpec): Rights {
  const own = container.security;
  const pod = at(podSpec, 'securityContext');
  const user = numberAt(own, 'runAsUser') ?? numberAt(pod, 'runAsUser') ?? 0;
  const group = numberAt(own, 'runAsGroup') ?? numberAt(pod, 'runAsGroup') ?? 0;
  const nonRoot = at(own, 'runAsNonRoot') ?? at(pod, 'runAsNonRoot');
  if (nonRoot === true && user === 0)
    throw new HeddleError(
      'container-config',
      `container ${container.name}: runAsNonRoot is set and no image says another user, so say one by runAsUser`,
    );
  const fsGroup = numberAt(pod, 'fsGroup');
  const supplemental = listAt(pod, 'supplementalGroups').map(Number);
  const privileged = at(own, 'privileged') === true;
  return {
    ...{ user, group, privileged },
    groups: [...new Set(fsGroup === undefined ? supplemental : [...supplemental, fsGroup])],
    capabilities: privileged ? ['all'] : capabilitiesOf(own),
    noNewPrivileges: at(own, 'allowPrivilegeEscalation') === false && !privileged,
  };
}

function capabilitiesOf(security: JsonValue): readonly string[] {
  const words = (key: string) =>
    listAt(security, 'capabilities', key).map((word) => String(word).toLowerCase().replace(/^cap_/, ''));
  const [added, dropped] = [words('add'), words('drop')];
  if (added.includes('all')) return ['all'];
  const kept = dropped.includes('all')
    ? []
    : DEFAULT_CAPABILITIES.filter((capability) => !dropped.includes(capability));
  return [...new Set([...kept, ...added])];
}

/** The words that have setpriv(1) give up everything else. */
export function setprivArguments(rights: Rights): readonly string[] {
  const { capabilities, groups } = rights;
  const bounding = capabilities.includes('all')
    ? []
    : [`--bounding-set=${['-all', ...capabilities.map((capability) => `+${capability}`)].join(',')}`];
  return [
    ...['--reuid', String(rights.user), '--regid', String(rights.group)],
    ...(groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join(',')]),
    ...['--inh-caps=-all', ...bounding],
    ...(rights.noNewPrivileges ? ['--no-new-privs'] : []),
  ];
}
