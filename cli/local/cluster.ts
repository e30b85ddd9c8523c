import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { writeAtomically } from '../../common/atomic-file.ts';
import type { Clock, Timer } from '../../common/clock.ts';
import type { Dialer } from '../../common/net.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, objectAt, textAt, textsAt } from '../kube/fields.ts';
import { objectKey } from '../kube/kinds.ts';
import type { WebhookAddress } from './admission.ts';
import { AdmissionGate } from './admission-gate.ts';
import { LoadBalancers, type PublishedPort } from './load-balancer.ts';
import { type Owner, ownersOf, podOf, replicasOf, templateHash } from './owners.ts';
import { Pod, type PodHost } from './pod.ts';
import { planRollout } from './rollout.ts';
import { ServiceAddresses } from './service-addresses.ts';
import { balancedPorts, endpointSlices, serviceWithStatus } from './services.ts';
import { backoffLimitOf, deploymentWithStatus, jobWithStatus } from './workload-status.ts';

export interface ClusterSettings {
  readonly clock: Clock;
  readonly dialer: Dialer;
  readonly nodes: number;
  readonly runtimeDirectory: string;
  readonly host: Omit<PodHost, 'configMap' | 'onChange'>;
  webhook(): WebhookAddress | undefined;
  /** Runs after every reconciliation that changed something to see. */
  onChange(): void;
}

interface OwnedPod {
  readonly pod: Pod;
  readonly owner: string;
  readonly hash: string;
}

/** kubelet's own limit, for each node of the local mesh. */
export const podsPerNodeMax = 110;
const settleMs = 10;
const NAME_CHARS = 'bcdfghjklmnpqrstvwxz2456789';

/**
 * The controllers of the local mesh: makes what runs equal to what the objects ask for, one small step after each
 * change, and writes what it made to the runtime directory, where control plane and commands read it.
 */
export class Cluster {
  readonly #settings: ClusterSettings;
  readonly #host: PodHost;
  readonly #gate: AdmissionGate;
  readonly #addresses: ServiceAddresses;
  readonly #balancers: LoadBalancers;
  readonly #creating = new Map<string, number>();
  /** What a Job has come to, by owner and template. Gone with the Job. */
  readonly #jobs = new Map<string, { done: boolean; failed: number }>();
  #objects = new Map<string, KubeObject>();
  #pods: OwnedPod[] = [];
  /** Written to the runtime file before they start: the network knows pods by it. */
  #unstarted: Pod[] = [];
  #timer: Timer | undefined;
  #written = '';
  #nextNode = 0;
  #closed = false;
  #reconciled = false;

  constructor(settings: ClusterSettings) {
    this.#settings = settings;
    this.#addresses = new ServiceAddresses(settings.host.network.name);
    this.#host = {
      ...settings.host,
      configMap: (namespace, name) => {
        const map = this.#objects.get(`ConfigMap/${namespace}/${name}`);
        return map === undefined ? undefined : textsAt(map.data);
      },
      onChange: () => this.#schedule(),
    };
    this.#gate = new AdmissionGate({
      clock: settings.clock,
      webhook: () => settings.webhook(),
      find: (key) => this.#objects.get(key),
      onRetry: () => this.#schedule(),
    });
    this.#balancers = new LoadBalancers(settings.dialer, () => this.#schedule());
  }

  /** The objects in force, later ones over earlier ones of the same name. */
  setObjects(objects: readonly KubeObject[]): void {
    const now = new Date(this.#settings.clock.wallMs()).toISOString();
    const dated = objects.map((object): [string, KubeObject] => {
      const key = objectKey(object);
      const known = this.#objects.get(key)?.metadata.creationTimestamp;
      const creationTimestamp = object.metadata.creationTimestamp ?? known ?? now;
      return [key, { ...object, metadata: { ...object.metadata, creationTimestamp } }];
    });
    this.#objects = new Map(dated);
    this.#gate.clear();
    this.#reconciled = false;
    this.#schedule();
  }

  published(): readonly PublishedPort[] {
    return this.#balancers.published();
  }

  deployments(): readonly { name: string; wanted: number; ready: number; trouble: string | undefined }[] {
    return ownersOf(this.#objects)
      .filter((owner) => owner.object.kind === 'Deployment')
      .map((owner) => {
        const hash = templateHash(owner.object);
        const pods = this.#podsOf(owner.key).filter((owned) => owned.hash === hash);
        const trouble = pods.map((owned) => owned.pod).find((pod) => pod.trouble !== undefined);
        return {
          name: owner.key.replace('Deployment/', ''),
          wanted: replicasOf(owner.object),
          ready: pods.filter((owned) => owned.pod.ready && !owned.pod.terminating).length,
          trouble:
            this.#gate.reason(owner.key) ??
            (trouble === undefined
              ? undefined
              : `pod ${trouble.object.metadata.name}: ${trouble.trouble?.message}`),
        };
      });
  }

  /** Whether the last objects have been looked at and nothing is under way that isn't a pod's own start. */
  settled(): boolean {
    return this.#reconciled && this.#creating.size === 0 && this.#balancers.settled();
  }

  /** Deletes every pod, apps first. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#gate.close();
    this.#balancers.close();
    await Promise.all(this.#pods.map((owned) => owned.pod.delete()));
  }

  #podsOf(owner: string): readonly OwnedPod[] {
    return this.#pods.filter((entry) => entry.owner === owner);
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = this.#settings.clock.after(settleMs, () => {
      this.#timer = undefined;
      if (this.#closed) return;
      this.#reconcile();
      this.#publish();
      for (const pod of this.#unstarted.splice(0)) void pod.start();
      this.#reconciled = true;
      this.#settings.onChange();
    });
  }

  #reconcile(): void {
    const owners = ownersOf(this.#objects);
    const known = new Set(owners.map((owner) => owner.key));
    for (const owned of this.#pods) if (!known.has(owned.owner)) this.#delete(owned);
    const runs = new Set(owners.map((owner) => runOf(owner)));
    for (const run of this.#jobs.keys()) if (!runs.has(run)) this.#jobs.delete(run);
    for (const owner of owners) {
      if (owner.object.kind === 'Deployment') this.#reconcileDeployment(owner);
      else if (owner.object.kind === 'Job') this.#reconcileJob(owner);
      else this.#reconcileBarePod(owner);
    }
  }

  #reconcileDeployment(owner: Owner): void {
    const hash = templateHash(owner.object);
    const owned = this.#podsOf(owner.key);
    const strategy = objectAt(owner.object.spec, 'strategy');
    const bound = (key: string) => {
      const value = at(strategy, 'rollingUpdate', key);
      return typeof value === 'number' || typeof value === 'string' ? value : '25%';
    };
    const plan = planRollout(
      {
        replicas: replicasOf(owner.object),
        strategy: textAt(strategy, 'type') === 'Recreate' ? 'Recreate' : 'RollingUpdate',
        maxSurge: bound('maxSurge'),
        maxUnavailable: bound('maxUnavailable'),
      },
      owned.map(({ pod, hash: podHash }) => ({
        ...{ name: pod.object.metadata.name, current: podHash === hash, ready: pod.ready },
        ...{ terminating: pod.terminating, createdAtMs: pod.createdAtMs },
      })),
    );
    for (const entry of owned) if (plan.remove.includes(entry.pod.object.metadata.name)) this.#delete(entry);
    const missing = plan.create - (this.#creating.get(owner.key) ?? 0);
    for (let count = 0; count < missing; count++)
      this.#create(owner, hash, `${owner.object.metadata.name}-${hash}-${suffix()}`);
  }

  #reconcileBarePod(owner: Owner): void {
    const hash = templateHash(owner.object);
    const [existing] = this.#podsOf(owner.key);
    if (existing !== undefined && existing.hash !== hash) this.#delete(existing);
    if (existing === undefined && !this.#creating.has(owner.key))
      this.#create(owner, hash, owner.object.metadata.name);
  }

  #reconcileJob(owner: Owner): void {
    const hash = templateHash(owner.object);
    for (const entry of this.#podsOf(owner.key)) if (entry.hash !== hash) this.#delete(entry);
    const job = this.#jobs.get(runOf(owner)) ?? { done: false, failed: 0 };
    this.#jobs.set(runOf(owner), job);
    if (job.done) return;
    const owned = this.#podsOf(owner.key).filter((entry) => entry.hash === hash);
    job.failed = owned.filter((entry) => entry.pod.phase === 'Failed').length;
    job.done = owned.some((entry) => entry.pod.phase === 'Succeeded');
    const active = owned.some((entry) => ['Pending', 'Running'].includes(entry.pod.phase));
    if (job.done || active || job.failed > backoffLimitOf(owner.object) || this.#creating.has(owner.key))
      return;
    this.#create(owner, hash, `${owner.object.metadata.name}-${suffix()}`);
  }

  #create(owner: Owner, hash: string, name: string): void {
    if (this.#gate.waits(owner.key)) return;
    const { nodes, clock } = this.#settings;
    const underWay = [...this.#creating.values()].reduce((sum, count) => sum + count, this.#pods.length);
    if (underWay >= nodes * podsPerNodeMax) {
      const room = `${nodes} node${nodes === 1 ? '' : 's'} of ${podsPerNodeMax} pods each are full`;
      this.#gate.hold(owner.key, `${room}: start the mesh with more --nodes, or ask for fewer replicas`);
      return;
    }
    this.#creating.set(owner.key, (this.#creating.get(owner.key) ?? 0) + 1);
    const node = this.#nextNode++ % nodes;
    const createdAt = new Date(clock.wallMs()).toISOString();
    const wanted = podOf(owner.object, { name, uid: randomUUID(), hash, node, createdAt });
    void this.#gate.admit(owner, wanted).then((object) => {
      const left = (this.#creating.get(owner.key) ?? 1) - 1;
      if (left > 0) this.#creating.set(owner.key, left);
      else this.#creating.delete(owner.key);
      this.#schedule();
      if (object === undefined || this.#closed || !this.#objects.has(owner.key)) return;
      const pod = new Pod(this.#host, object, node);
      this.#pods.push({ pod, owner: owner.key, hash });
      this.#unstarted.push(pod);
    });
  }

  #delete(owned: OwnedPod): void {
    if (owned.pod.terminating) return;
    void owned.pod.delete().then(() => {
      this.#pods = this.#pods.filter((entry) => entry !== owned);
      this.#schedule();
    });
  }

  /** Writes what runs, whole and only when it changed. */
  #publish(): void {
    const services = [...this.#objects.values()].filter((object) => object.kind === 'Service');
    const pods = this.#pods.map((owned) => owned.pod);
    this.#addresses.assign(services);
    this.#balancers.update(balancedPorts(services, pods));
    const made: KubeObject[] = pods.map((pod) => pod.toObject());
    for (const service of services) {
      const key = `${service.metadata.namespace ?? 'default'}/${service.metadata.name}:`;
      const published = this.#balancers.published().filter((entry) => entry.key.startsWith(key));
      const assigned = this.#addresses.of(service);
      made.push(
        serviceWithStatus(service, assigned, published),
        ...endpointSlices(service, pods, assigned.families),
      );
    }
    for (const owner of ownersOf(this.#objects)) {
      if (owner.object.kind === 'Deployment') made.push(this.#deployment(owner));
      if (owner.object.kind === 'Job') {
        const { done, failed } = this.#jobs.get(runOf(owner)) ?? { done: false, failed: 0 };
        made.push(jobWithStatus(owner.object, done, failed));
      }
    }
    const text = made.map((object) => `---\n${JSON.stringify(object)}\n`).join('');
    if (text === this.#written) return;
    this.#written = text;
    writeAtomically(join(this.#settings.runtimeDirectory, 'runtime.yaml'), text);
  }

  #deployment(owner: Owner): KubeObject {
    const hash = templateHash(owner.object);
    const counted = this.#podsOf(owner.key)
      .filter((entry) => !entry.pod.terminating)
      .map((entry) => ({ current: entry.hash === hash, ready: entry.pod.ready }));
    return deploymentWithStatus(owner.object, counted, this.#gate.reason(owner.key));
  }
}

/** One run of a Job: another template is another run. */
function runOf(owner: Owner): string {
  return `${owner.key}#${templateHash(owner.object)}`;
}

function suffix(): string {
  return [...randomBytes(5)].map((byte) => NAME_CHARS[byte % NAME_CHARS.length] ?? 'x').join('');
}
